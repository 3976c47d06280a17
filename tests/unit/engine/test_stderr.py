"""What a process writes to stderr is kept, and arrives where it always did."""

from __future__ import annotations

from textwrap import dedent

import pytest

from tests.support.scripts import run_python

START = """
    import logging, os, sys
    from poolsafe.engine.pages import Pages
    from poolsafe.engine import stderr
    handler = logging.StreamHandler()
    before = sys.stderr
    page = Pages(1).take()
    stderr.keep(page)
    page.run(5, 1)
"""


def run(*options: str, body: str) -> tuple[str, str]:
    """What a program prints, and what arrives at its stderr."""
    done = run_python(*options, "-c", dedent(START) + dedent(body))
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.parametrize("options", [(), ("-u",)])
def test_all_python_writers_are_heard(options: tuple[str, ...]) -> None:
    body = """
        import warnings
        print("printed", file=sys.stderr)
        logging.getLogger().addHandler(handler)
        logging.warning("logged")
        sys.stderr.writelines(["some ", "lines\\n"])
        sys.excepthook(ValueError, ValueError("raised"), None)
        warnings.warn("warned", stacklevel=1)
        assert sys.stderr is before
        assert (sys.stderr.fileno(), sys.stderr.name) == (2, "<stderr>")
        print(repr(page.said()))
    """
    told, arrived = run(*options, body=body)
    assert eval(told) == arrived.replace("\r", "")
    for word in ("printed", "logged", "some lines", "warned", "raised"):
        assert word in arrived


def test_what_others_write_is_not_kept() -> None:
    body = """
        os.write(2, b"a library\\n")
        pid = os.fork()
        if not pid:
            print("a copy", file=sys.stderr)
            stderr.own(True)
            print("a copy that serves", file=sys.stderr)
            stderr.own(False)
            print("and no more", file=sys.stderr)
            os._exit(0)
        os.waitpid(pid, 0)
        print(repr(page.said()))
    """
    told, arrived = run(body=body)
    assert eval(told) == "a copy that serves\n"
    assert arrived == "a library\na copy\na copy that serves\nand no more\n"


def test_an_exception_of_a_signal_handler_comes_through_and_nothing_is_written_twice() -> None:
    body = """
        import signal, time
        def ring(*_):
            raise TimeoutError
        def write(i):  # a function: 3.13 leaves the jump at a loop's end out of what a `try` around it covers
            signal.setitimer(signal.ITIMER_REAL, 0.0005)
            end = time.monotonic() + 5
            while time.monotonic() < end:
                i += 1000
                sys.stderr.write(f"<{i}>\\n")
            print("lost")
        signal.signal(signal.SIGALRM, ring)
        for i in range(200):
            try:
                write(i)
            except TimeoutError:
                pass
    """
    told, arrived = run(body=body)
    assert told == ""
    assert len(arrived.split()) == len(set(arrived.split()))


def test_a_tracer_that_prints() -> None:
    body = """
        def trace(frame, event, arg):
            print("trace", frame.f_code.co_name, file=sys.stderr)
        sys.settrace(trace)
        print("words", file=sys.stderr)
        sys.settrace(None)
    """
    arrived = run(body=body)[1]
    assert "words" in arrived
    assert "Error" not in arrived


@pytest.mark.parametrize(
    "how",
    [
        "sys.stderr = io.TextIOWrapper(sys.stderr.detach(), line_buffering=True)",
        "sys.stderr = io.TextIOWrapper(open(sys.stderr.fileno(), 'wb', 0), write_through=True)",
        "sys.stderr = os.fdopen(2, 'w', 1)",
    ],
)
@pytest.mark.parametrize("options", [(), ("-u",)])
def test_streams_of_the_programs_own(how: str, options: tuple[str, ...]) -> None:
    body = f"""
        import io
        {how}
        stderr.keep(page)
        print("words", file=sys.stderr)
        os.write(2, b"more\\n")
        print(repr(page.said()))
    """
    told, arrived = run(*options, body=body)
    assert (eval(told), arrived) == ("words\n", "words\nmore\n")


@pytest.mark.parametrize(
    "other",
    ["None", "open(os.devnull, 'w')", "__import__('io').StringIO()"],
    ids=["none", "file", "text"],
)
def test_something_else_in_its_place_is_left_alone(other: str) -> None:
    body = f"""
        sys.stderr = sys.__stderr__ = {other}
        stderr.keep(page)
        stderr.own(True)
        print(repr(page.said()))
    """
    assert run(body=body)[0] == "''\n"


def test_another_page_takes_the_place_of_the_first() -> None:
    body = """
        second = Pages(1).take()
        stderr.keep(second)
        print("words", file=sys.stderr)
        print(repr((page.said(), second.said())))
    """
    told, arrived = run(body=body)
    assert (eval(told), arrived) == (("", "words\n"), "words\n")
