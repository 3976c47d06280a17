"""Five tasks share a global, and none of them sees what another one did to it."""

from poolsafe import IsolatedPool

x = ["haha"]


def t(i):
    x.append(i)
    return list(x)


if __name__ == "__main__":
    with IsolatedPool(2) as pool:
        for seen in pool.map(t, range(5)):
            print(seen)
