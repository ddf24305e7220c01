"""Many small pieces of work at once: one process per core, one thread each, results in the order of the jobs."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count
from multiprocessing import parent_process
from multiprocessing.connection import wait
from threading import RLock, Thread
from typing import Any, TypeVar

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
    if _kept is None:
        with _processes(number) as pool:
            yield from pool.map(work, jobs)
        return
    begun = [_kept.submit(work, job, urgency.get()) for job in jobs]
    try:
        yield from (one.result() for one in begun)
    finally:
        for one in begun:
            one.cancel()


@contextmanager
def _processes(number: int) -> Iterator[ProcessPoolExecutor]:
    """So many processes; jobs that have not begun at the end are dropped."""
    with ProcessPoolExecutor(number, torch.multiprocessing.get_context("spawn"), start_worker) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


urgency: ContextVar[int] = ContextVar("urgency", default=0)
"""Within `kept_workers`, jobs of who has set it higher are done before those of others."""


@dataclass(order=True)
class _Waiting:
    """A job that waits for its turn, those first whose turn comes first."""

    less_urgent: int
    number: int
    future: Future[Any] = field(compare=False)
    begin: Callable[[], Future[Any]] = field(compare=False)


class MostUrgentFirst:
    """Workers that are shared: whoever is free does the most urgent job next, of equally urgent ones the oldest.

    Parameters
    ----------
    pool : concurrent.futures.Executor
        With as many workers as there are `ahead`, less one: a job is handed over before a worker is free for it.
    ahead : int
    """

    def __init__(self, pool: Executor, ahead: int) -> None:
        self._pool, self._free = pool, ahead
        self._waiting: list[_Waiting] = []
        self._number, self._lock = count(), RLock()

    def submit(self, work: Callable[[Job], Result], job: Job, urgency: int) -> Future[Result]:
        """Have work done on a job when its turn has come."""
        future: Future[Result] = Future()
        with self._lock:
            heappush(
                self._waiting, _Waiting(-urgency, next(self._number), future, partial(self._pool.submit, work, job))
            )
            self._hand_over()
        return future

    def _hand_over(self) -> None:
        while self._free and self._waiting:
            first = heappop(self._waiting)
            future = first.future
            if not future.set_running_or_notify_cancel():
                continue
            try:
                done = first.begin()
            except RuntimeError as error:  # the workers have been stopped, or have died
                future.set_exception(error)
                continue
            self._free -= 1
            done.add_done_callback(partial(self._ended, future))

    def _ended(self, future: Future[Any], done: Future[Any]) -> None:
        with self._lock:
            self._free += 1
            if not done.cancelled():
                self._hand_over()
        error = CancelledError() if done.cancelled() else done.exception()
        if error is None:
            future.set_result(done.result())
        else:
            future.set_exception(error)


_kept: MostUrgentFirst | None = None
"""What there is within `kept_workers`."""


@contextmanager
def kept_workers(workers: int | None = None) -> Iterator[None]:
    """Let every `in_processes` inside use the same processes, which take seconds to start and import what they need.

    They start when they are first needed and inherit the environment variables of that moment; there are so many,
    whatever `in_processes` is told, unless that is one.
    """
    global _kept
    with _processes(workers or cores()) as pool:
        before, _kept = _kept, MostUrgentFirst(pool, (workers or cores()) + 1)
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
