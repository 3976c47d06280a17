"""Random numbers that follow from the seed and the number of the task, whatever runs where."""

import random

import poolsafe
from poolsafe import IsolatedPool


def simulate(steps):
    walk = sum(random.choice([-1, 1]) for _ in range(steps))
    noise = poolsafe.rng().random()  # a numpy.random.Generator of this task's own
    return walk, round(float(noise), 3)


if __name__ == "__main__":
    found = set()
    for workers in (1, 2, 3):
        for chunksize in (1, 4):
            with IsolatedPool(workers, seed=42) as pool:
                results = pool.map(simulate, [100] * 4, chunksize)
                found.add(tuple(results))
    print(results)
    print(len(found), "outcome from six pools")
