"""Which task changed what: nothing is declared, and the tasks work as ever."""

import os

from poolsafe import IsolatedPool

cache = {"runs": []}
limit = 10


def work(i):
    global limit
    cache["runs"].append(i)
    if i == 2:
        limit = 20
        os.environ["MODE"] = "fast"
    return i


if __name__ == "__main__":
    with IsolatedPool(1, on_leak="watch") as pool:
        pool.map(work, range(3))
    print(pool.leaks)
    first = pool.leaks[0]
    print(first.function, first.arguments, first.path, first.before, first.after)
