"""The results of a function hang on what ran before it: `verify` finds the item that makes the difference."""

from poolsafe import verify

rates = {"EUR": 1.0}


def convert(job):
    currency, amount = job
    if currency == "USD":
        rates["EUR"] = 0.9  # meant for this task alone
    return round(amount * rates["EUR"], 2)


if __name__ == "__main__":
    jobs = [("EUR", 10), ("GBP", 20), ("USD", 30), ("EUR", 40)]
    print(verify(convert, jobs, isolation=None))
    print(verify(convert, jobs))
