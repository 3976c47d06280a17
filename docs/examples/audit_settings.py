"""A script whose tasks change what the whole process shares: directory, environment, locale.

Which task sees another one's settings hangs on timing. `python -m poolsafe audit audit_settings.py` names who changed
what, and with every task isolated all of them begin with the same settings.
"""

import argparse
import locale
import multiprocessing
import os
from multiprocessing.pool import Pool


def render(job):
    name, zone = job
    before = os.path.basename(os.getcwd()), os.environ.get("TZ_NAME", "unset"), locale.setlocale(locale.LC_NUMERIC)
    os.chdir(os.sep)
    os.environ["TZ_NAME"] = zone
    locale.setlocale(locale.LC_NUMERIC, "C.UTF-8")
    return name, before


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--start-method", choices=multiprocessing.get_all_start_methods())
    context = multiprocessing.get_context(parser.parse_args().start_method)
    here = os.path.basename(os.getcwd())
    with Pool(2, context=context) as pool:
        jobs = [("oslo", "CET"), ("lima", "PET"), ("pune", "IST"), ("rome", "CET")]
        for name, (place, zone, numbers) in pool.map(render, jobs, chunksize=2):
            print(f"{name}: began {'here' if place == here else 'elsewhere'}, zone {zone}, numbers {numbers}")


if __name__ == "__main__":
    main()
