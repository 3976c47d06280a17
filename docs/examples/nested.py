"""Let tasks have pools of their own."""

from poolsafe import IsolatedPool


def square(i):
    return i * i


def sum_of_squares(count):
    with IsolatedPool(2) as inner:
        return sum(inner.map(square, range(count)))


if __name__ == "__main__":
    with IsolatedPool(2, daemon=False) as outer:
        print(outer.map(sum_of_squares, [3, 4, 5]))
