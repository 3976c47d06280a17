"""Replace workers that grow, and end tasks that take far too much."""

import os

from poolsafe import IsolatedPool, TaskMemoryExceeded

MIB = 1 << 20
kept = []


def leak(mebibytes):
    kept.append(bytearray(b"x") * (mebibytes * MIB))  # as a library does that frees nothing
    return os.getpid()


if __name__ == "__main__":
    with IsolatedPool(1, isolation=None, max_memory=300 * MIB) as pool:
        first, second, third = pool.map(leak, [1, 350, 1], chunksize=1)
        print("replaced after a task:", first == second != third)
        print(dict(pool.stats().retired))
        try:
            pool.apply(leak, (2000,))
        except TaskMemoryExceeded as error:
            print("ended at more than 600 MiB:", error.used > 600 * MIB)
