"""A resetter for a database in memory: what tasks write there is taken back before the next one."""

import sqlite3

from poolsafe import IsolatedPool

db = sqlite3.connect(":memory:")
db.execute("create table words (word)")
db.execute("insert into words values ('first')")
db.commit()


class Database:
    def capture(self):  # once in each worker, after the initializer
        copy = sqlite3.connect(":memory:")
        db.backup(copy)
        return copy

    def restore(self, copy):  # before every task
        db.rollback()
        copy.backup(db)


def work(word):
    db.execute("insert into words values (?)", [word])
    db.commit()
    return [word for (word,) in db.execute("select word from words")]


if __name__ == "__main__":
    with IsolatedPool(2, reset=["auto", Database()]) as pool:
        print(pool.map(work, ["a", "b", "c"]))
