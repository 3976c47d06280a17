"""A simulation whose model keeps its state in globals, as many do: every run goes on where the last one stopped.

Run it as it is, and its figures hang on timing. `python -m poolsafe audit audit_simulation.py` names what the runs
leave behind, and with every run isolated the figures are the same each time.
"""

import argparse
import multiprocessing
import random

population = {"hares": 100, "lynxes": 10}
history = []


class Weather:
    severity = 0.5

    @classmethod
    def change(cls, dice):
        cls.severity = min(1.0, max(0.0, cls.severity + dice.uniform(-0.1, 0.1)))


def year(dice):
    global population
    Weather.change(dice)
    hares, lynxes = population["hares"], population["lynxes"]
    eaten = min(hares, lynxes * 3)
    born = int((hares - eaten) * (1 - Weather.severity) * 0.8)
    population = {"hares": hares - eaten + born, "lynxes": max(1, lynxes + eaten // 20 - lynxes // 5)}
    history.append(population["hares"])


def run(years):
    dice = random.Random(2024)
    for _ in range(years):
        year(dice)
    return years, len(history), population


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--start-method", choices=multiprocessing.get_all_start_methods())
    context = multiprocessing.get_context(parser.parse_args().start_method)
    with context.Pool(2) as pool:
        for years, recorded, end in pool.map(run, [3, 5, 8, 3, 5, 8], chunksize=3):
            print(f"{years} years, {recorded} recorded: {end}")
