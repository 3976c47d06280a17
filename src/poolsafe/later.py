"""`machinery`, imported when something in it is first asked for, and then all of it at once.

A worker that multiprocessing starts afresh imports the main module, and with it, in most programs, `IsolatedPool`:
without ever making a pool. What pools are made of would be half of all that such a worker does.

Used by: pool, calls. What may go wrong: the first pool is made when nothing can be imported any more, as at the end of
the interpreter: ImportError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import machinery
else:

    class _Later:
        """The names of the module: asked for once, they are attributes like any other."""

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):  # somebody only looks, as inspection does
                raise AttributeError(name)
            import importlib

            module = importlib.import_module(f"{__package__}.machinery")
            vars(self).update({name: getattr(module, name) for name in module.__all__})
            return object.__getattribute__(self, name)

    machinery = _Later()

__all__ = ["machinery"]
