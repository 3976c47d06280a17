"""``python -m poolsafe``: the command line.

Who calls it: users, by hand, and CI. Without arguments it runs the demo. What may go wrong: an unknown command or
option is a usage error (exit status 2), as with every program that parses its arguments with argparse.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that *argv* asks for and return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["audit"]:  # what follows belongs to another program, and is not for our parser
        from poolsafe import audit

        return audit.main(arguments[1:])
    options = _parser().parse_args(arguments)
    from poolsafe import demo  # after parsing: a usage error must not cost the import of a pool

    return demo.run(options.start_method)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m poolsafe",
        description="See what poolsafe does.",
        epilog="Run a program unchanged and see what its tasks leak: python -m poolsafe audit --help",
    )
    parser.add_argument(
        "command",
        nargs="?",
        default="demo",
        choices=["demo"],
        metavar="{demo,audit}",
        help="demo (the default): the same tasks on multiprocessing.Pool and on IsolatedPool, side by side",
    )
    parser.add_argument(
        "--start-method",
        choices=multiprocessing.get_all_start_methods(),
        default=None,
        help="how worker processes are started (default: as this platform does)",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
