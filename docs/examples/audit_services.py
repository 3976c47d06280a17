"""A script with what services are made of: a client that is made when it is first needed, and caches that fill.

Its results do not hang on any of that. `python -m poolsafe audit audit_services.py` names all three, and advises what
to do about a client that every task now makes again: `--keep __main__:_client`.
"""

import argparse
import functools
import multiprocessing

_client = None
_seen = {}


class Client:
    def __init__(self, url):
        self.url = url

    def fetch(self, name):
        return f"{self.url}/{name}"


def client():
    global _client
    if _client is None:
        _client = Client("https://example.org")
    return _client


@functools.cache
def weight(word):
    return sum(map(ord, word))


def work(name):
    if name not in _seen:
        _seen[name] = client().fetch(name)
    return _seen[name], weight(name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--start-method", choices=multiprocessing.get_all_start_methods())
    multiprocessing.set_start_method(parser.parse_args().start_method)
    with multiprocessing.Pool(2) as pool:
        for url, number in pool.imap(work, ["ada", "bob", "ada", "eve"]):
            print(url, number)
