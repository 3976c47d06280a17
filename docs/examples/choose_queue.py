"""The right queue for whoever is to get it."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import Process

from poolsafe import IsolatedPool, make_queue, queue_choice


def put(queue, item):
    queue.put(item)


if __name__ == "__main__":
    for consumer in (IsolatedPool, ProcessPoolExecutor, Process, ThreadPoolExecutor):
        print(consumer.__name__, queue_choice(consumer).name)
    with ProcessPoolExecutor(1) as executor:
        queue = make_queue(consumer=executor)
        executor.submit(put, queue, "through a manager").result()
        print(queue.get())
