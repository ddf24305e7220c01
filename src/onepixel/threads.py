"""Cores and threads. Small networks run on one thread: more gain little, and change the last digits."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch, OpenMP (scikit-learn's trees) and BLAS use a single thread meanwhile.

    Where several processes share the cores, more threads than cores would wait for each other most of the time.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def side_by_side(run: Callable[[Item], Result], items: Sequence[Item], threads: int) -> Iterator[Result]:
    """What `run` gives for every item, in their order, in threads with one of torch's threads each.

    With one thread or one item it runs here, with as many of torch's threads as there are.
    """
    if threads == 1 or len(items) == 1:
        yield from map(run, items)
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(min(threads, len(items)), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(run, items)
    finally:
        torch.set_num_threads(before)
