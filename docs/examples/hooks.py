"""before_task and after_task run around every task, in the worker: here they give each one a transaction of its own."""

import sqlite3

from poolsafe import IsolatedPool

db = None


def connect():
    global db
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute("create table words (word)")


def begin():
    db.execute("begin")


def undo():  # runs even when the task raised
    db.execute("rollback")


def work(word):
    db.execute("insert into words values (?)", [word])
    return db.execute("select * from words").fetchall()


if __name__ == "__main__":
    with IsolatedPool(1, connect, before_task=begin, after_task=undo) as pool:
        print(pool.map(work, ["a", "b", "c"]))
