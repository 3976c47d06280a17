"""A resetter rewinds what only you know how to rewind: here, the position in an open file."""

import tempfile

from poolsafe import IsolatedPool


class Position:
    def capture(self):
        return source.tell()

    def restore(self, state):
        source.seek(state)


def open_source():
    global source
    source = tempfile.TemporaryFile("w+")
    source.write("one\ntwo\nthree\n")
    source.seek(0)


def read(_):
    return source.readline().strip()  # would go on where the last task stopped


if __name__ == "__main__":
    with IsolatedPool(1, open_source, reset=["auto", Position()]) as pool:
        print(pool.map(read, range(3)))
