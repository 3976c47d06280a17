"""``python -m tests.fuzz FIRST LAST [--start-method METHOD] [--level LEVEL]``: play the plans of these numbers.

The exit status is 1 when there was a complaint; a hang ends the program at once, with the stacks of its threads and
the processes that are left. What fails is played again by its number alone; as moments differ, perhaps several times,
and on a busy machine.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

from poolsafe import IsolatedPool, PoolsafeWarning, make_queue
from tests.support import leaks

from .judge import ERROR, complaints
from .plan import Plan, make
from .play import Hang, play

#: Seconds that a pool's remains have to disappear.
GRACE = 15.0


def main() -> int:
    """Plays, and tells."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("first", type=int)
    parser.add_argument("last", type=int)
    parser.add_argument("--start-method")
    parser.add_argument("--level")
    options = parser.parse_args()
    warnings.simplefilter("ignore", PoolsafeWarning)
    leaks.warm_up()
    queue = make_queue(consumer=IsolatedPool)  # what serves queues begins with the first and stays
    bad = 0
    for seed in range(options.first, options.last):
        bad += bool(judged(make(seed, options.start_method, options.level)))
    del queue
    print(f"{options.last - options.first} pools, {bad} of them with complaints")
    return int(bad > 0)


def judged(plan: Plan) -> list[str]:
    """Plays one plan, prints what came of it, and gives what is wrong with that."""
    began, before = time.monotonic(), leaks.footprint()
    with tempfile.TemporaryDirectory() as folder:
        try:
            harvest = play(plan, Path(folder))
        except Hang:
            print("A HANG:", plan, flush=True)
            faulthandler.dump_traceback()
            subprocess.run(["ps", "-eo", "pid,ppid,stat,etimes,wchan:20,args", "--forest"], check=False)
            os._exit(3)
    kinds = Counter(
        type(outcome.value).__name__ if outcome.kind == ERROR else outcome.kind for outcome in harvest.outcomes.values()
    )
    wrong = list(complaints(plan, harvest))
    del harvest
    wrong += leaks.wait_until_clean(before, GRACE)
    head = f"{plan.seed}: {plan.options['isolation']} under {plan.start_method}"
    print(f"{head}, {time.monotonic() - began:.1f} s, {dict(kinds)}", flush=True)
    if wrong:
        print(*wrong, plan, sep="\n    ", flush=True)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
