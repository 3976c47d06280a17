"""A script without ``if __name__ == "__main__":``, as people write it."""

from __future__ import annotations

import multiprocessing as mp
import sys

from poolsafe import IsolatedPool
from tests.support.levels import LEVEL

print("begins", file=sys.stderr)
pool = IsolatedPool(4, context=mp.get_context(sys.argv[1]), isolation=LEVEL)
print(pool.map(abs, [-1, -2, -3]))
pool.terminate()
