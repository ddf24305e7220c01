"""Many small pieces of work at once: one process per core, one thread each, results in the order of the jobs."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from multiprocessing import parent_process
from multiprocessing.connection import wait
from threading import Thread
from typing import TypeVar

import torch

from onepixel.threads import cores

Job = TypeVar("Job")
Result = TypeVar("Result")


def in_processes(work: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None = None) -> Iterator[Result]:
    """Yield the results of `work`, a function of a module, over jobs that can be pickled, in their order.

    Parameters
    ----------
    work : callable
    jobs : sequence
    workers : int, optional
        Processes; one per core unless said. With one, everything happens in this process.
    """
    number = min(workers or cores(), len(jobs))
    if number <= 1:
        yield from map(work, jobs)
        return
    with _processes(number) if _kept is None else nullcontext(_kept) as pool:
        yield from pool.map(work, jobs)


@contextmanager
def _processes(number: int) -> Iterator[ProcessPoolExecutor]:
    """So many processes; jobs that have not begun at the end are dropped."""
    with ProcessPoolExecutor(number, torch.multiprocessing.get_context("spawn"), start_worker) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_kept: ProcessPoolExecutor | None = None
"""What there is within `kept_workers`."""


@contextmanager
def kept_workers(workers: int | None = None) -> Iterator[None]:
    """Let every `in_processes` inside use the same processes, which take seconds to start and import what they need.

    They start when they are first needed and inherit the environment variables of that moment; there are so many,
    whatever `in_processes` is told, unless that is one.
    """
    global _kept
    with _processes(workers or cores()) as pool:
        before, _kept = _kept, pool
        try:
            yield
        finally:
            _kept = before


def start_worker() -> None:
    """What every worker process does first: one thread, and an end when its parent ends, however that happens."""
    torch.set_num_threads(1)
    Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
