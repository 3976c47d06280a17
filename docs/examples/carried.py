"""Pass plain queues and shared values to tasks."""

import queue
from multiprocessing import Value

from poolsafe import IsolatedPool


def crawl(page, found, visited):
    with visited.get_lock():
        visited.value += 1
    found.put(f"{page}/next")


if __name__ == "__main__":
    found = queue.Queue()
    visited = Value("i", 0)
    with IsolatedPool(2) as pool:
        pool.starmap(crawl, [(page, found, visited) for page in ("x", "y", "z")])
    print(sorted(found.get_nowait() for _ in range(3)), visited.value)
