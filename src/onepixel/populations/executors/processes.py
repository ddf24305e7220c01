"""Worker processes on this machine, replaced when they die."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch

from onepixel.errors import StoreError

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Workers(Generic[Job, Result]):
    """Processes that do jobs; what was not finished when one died is started again in new ones.

    Attributes
    ----------
    number : int
    start : callable
        Called with `shared` in each new process.
    shared : tuple
        Sent to each process once.
    work : callable
        From a job to its result, in a process.
    restarts : int
        How often dead processes are replaced before the build gives up.
    """

    number: int
    start: Callable[..., None]
    shared: tuple[Any, ...]
    work: Callable[[Job], Result]
    restarts: int

    def run(self, jobs: Sequence[Job]) -> Iterator[Result]:
        """Yield results as they come.

        Raises
        ------
        StoreError
            If processes died once more than they are replaced.
        """
        waiting = list(jobs)
        for _ in range(self.restarts + 1):
            if not waiting:
                return
            try:
                for job, result in self._run_once(waiting):
                    waiting.remove(job)
                    yield result
            except BrokenProcessPool:
                continue
        if waiting:
            raise StoreError(f"Workers died {self.restarts + 1} times; what is finished is kept, the rest can go on.")

    def _run_once(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Result]]:
        context = torch.multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(self.number, len(jobs)), context, self.start, self.shared) as pool:
            pending: dict[Future[Result], Job] = {pool.submit(self.work, job): job for job in jobs}
            try:
                while pending:
                    for future in wait(pending, return_when=FIRST_COMPLETED).done:
                        yield pending.pop(future), future.result()
            finally:
                for future in pending:
                    future.cancel()
