"""End tasks that take too long, and try lost ones again."""

import os
import time

from poolsafe import IsolatedPool, TaskTimeout, WorkerLost


def fetch(page):
    if page == 2:
        time.sleep(3600)  # a server that does not answer
    return page


def crash():
    os.abort()


if __name__ == "__main__":
    with IsolatedPool(2, timeout=0.5, retries=1) as pool:
        pages = pool.imap(fetch, range(4), timeout=0.2)
        for _ in range(4):
            try:
                print(next(pages))
            except TaskTimeout as error:
                print("too long:", error.limit, "s, in", error.stack.partition(" in ")[2].partition("\n")[0])
        try:
            pool.apply(crash)
        except WorkerLost as error:
            print("lost", len(error.attempts) + 1, "times;", pool.stats().retried, "more attempts in all")
