"""Give each task a fresh process."""

import os

from poolsafe import IsolatedPool


def task(i):
    os.environ["LAST"] = str(i)
    return os.getpid()


if __name__ == "__main__":
    with IsolatedPool(2, isolation="fork") as pool:
        pids = pool.map(task, range(6), chunksize=3)
        print(len(set(pids)), "processes for", len(pids), "tasks")
