"""One pool reads, another one computes; a bounded queue between them keeps the readers from running ahead."""

from poolsafe import IsolatedPool

DONE = None


def read(name, pages):
    for number in range(3):
        pages.put(f"{name}{number}")


def compute(pages):
    return [page.upper() for page in iter(pages.get, DONE)]


if __name__ == "__main__":
    with IsolatedPool(2) as readers, IsolatedPool(2) as workers:
        pages = readers.Queue(maxsize=4)
        results = [workers.apply_async(compute, (pages,)) for _ in range(2)]
        readers.starmap(read, [("a", pages), ("b", pages)])
        for _ in results:
            pages.put(DONE)
        print(sorted(page for result in results for page in result.get()))
