"""A model that is loaded when it is first needed: kept, it is loaded once in each worker, not once for every task."""

from poolsafe import IsolatedPool

_model = None


def load():
    print("loading", flush=True)
    return {"scale": 10}


def model():
    global _model
    if _model is None:
        _model = load()
    return _model


def predict(value):
    return value * model()["scale"]


if __name__ == "__main__":
    with IsolatedPool(1, keep="__main__:_model") as pool:
        print(pool.map(predict, range(4)))
    with IsolatedPool(1) as pool:
        print(pool.map(predict, range(4)))
