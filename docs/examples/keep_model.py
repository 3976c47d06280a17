"""A model is loaded once in every worker and kept; everything else is put back."""

from poolsafe import IsolatedPool

model = None
seen = []


def load_model(scale):
    global model
    model = {"scale": scale, "used": 0}


def predict(value):
    seen.append(value)
    model["used"] += 1  # survives: the model is kept
    return len(seen), value * model["scale"]


def times_used():
    return model["used"]


if __name__ == "__main__":
    with IsolatedPool(1, load_model, (10,), keep="__main__:model") as pool:
        print(pool.map(predict, range(4)))
        print(pool.apply(times_used))
