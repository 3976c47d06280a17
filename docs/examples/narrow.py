"""Only what tasks do change is put back: two globals, the environment, and a list inside a standard module."""

import os
import urllib.parse

from poolsafe import IsolatedPool, presets

totals = {"words": 0}
table = {word: len(word) for word in ("a", "bc", "def")}  # never changed: not worth a microsecond


def work(word):
    totals["words"] += 1
    os.environ["LAST_WORD"] = word
    urllib.parse.uses_netloc.append(word)
    return totals["words"], len(urllib.parse.uses_netloc), table[word]


def environment():
    return os.environ.get("LAST_WORD")


if __name__ == "__main__":
    before = len(urllib.parse.uses_netloc)
    reset = ["__main__:totals", "urllib.parse:uses_netloc", presets.environ]
    with IsolatedPool(2, reset=reset) as pool:
        for words, schemes, length in pool.map(work, table):
            print(words, schemes - before, length)
        print(pool.apply(environment))
