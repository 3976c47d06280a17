"""Every kind of target: a module, a name, what is inside a class, and a factory."""

import random

from poolsafe import IsolatedPool

settings = {"mode": "fast", "tags": []}
rng = random.Random(7)


class Registry:
    known = {}

    @classmethod
    def add(cls, name):
        cls.known[name] = len(cls.known)


def work(name):
    settings["tags"].append(name)
    Registry.add(name)
    return settings["tags"], Registry.known, rng.randrange(100)


def new_rng():
    return random.Random(7)


if __name__ == "__main__":
    reset = ["__main__:settings", "__main__:Registry.known", {"__main__:rng": new_rng}]
    with IsolatedPool(2, reset=reset) as pool:
        for result in pool.imap(work, ["a", "b", "c"]):
            print(*result)
