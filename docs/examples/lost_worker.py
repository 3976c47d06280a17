"""A task kills its worker. It gets an error that says so; all the others get their results."""

import os
import signal

from poolsafe import IsolatedPool, WorkerLost


def work(i):
    if i == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return i * i


if __name__ == "__main__":
    with IsolatedPool(2) as pool:
        results = [pool.apply_async(work, (i,)) for i in range(6)]
        for i, result in enumerate(results):
            try:
                print(i, result.get())
            except WorkerLost as error:
                print(i, "lost:", signal.Signals(error.signal).name, "may have run:", error.may_have_run)
