"""Tasks report how far they are; the parent shows it while they run."""

from poolsafe import IsolatedPool


def work(job, reports):
    for step in range(3):
        reports.put((job, step))
    return job * job


if __name__ == "__main__":
    with IsolatedPool(2) as pool:
        reports = pool.Queue()
        results = pool.starmap_async(work, [(job, reports) for job in range(4)])
        seen = [reports.get() for _ in range(12)]
        print(sorted(seen)[-3:])
        print(results.get(), reports.empty())
