"""Where models are trained. An executor takes a recipe and slots and yields each slot's outcome as it comes.

Only the driver writes the store; workers return bytes. A worker that dies loses the model it was training, no more.
"""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol

import torch

from onepixel.datasets import Dataset, load_dataset
from onepixel.errors import StoreError, UsageError
from onepixel.populations.recipe import Recipe
from onepixel.populations.store import Finished


class Executor(Protocol):
    """A way to build slots."""

    def run(self, recipe: Recipe, slots: Sequence[int]) -> Iterator[Finished]:
        """Build the slots and yield each as it is finished, in any order."""


class LocalExecutor:
    """One process per core with one thread each; the data set is read once and shared by all.

    Parameters
    ----------
    workers : int, optional
        Processes; as many as there are cores unless said otherwise.
    restarts : int
        How often dead workers are replaced before the build gives up.

    Raises
    ------
    UsageError
        If `workers` is below 1.
    """

    def __init__(self, workers: int | None = None, restarts: int = 10) -> None:
        if workers is not None and workers < 1:
            raise UsageError(f"At least 1 worker is needed but got {workers}.")
        self.workers = workers or len(os.sched_getaffinity(0))
        self.restarts = restarts

    def run(self, recipe: Recipe, slots: Sequence[int]) -> Iterator[Finished]:
        """Yield each slot as it is finished; models whose worker died are started again."""
        waiting = list(slots)
        for _ in range(self.restarts + 1):
            if not waiting:
                return
            try:
                for finished in self._run_pool(recipe, waiting):
                    waiting.remove(finished.record.slot)
                    yield finished
            except BrokenProcessPool:
                continue
        if waiting:
            raise StoreError(f"Workers died {self.restarts + 1} times; what is finished is kept, the rest can go on.")

    def _run_pool(self, recipe: Recipe, slots: Sequence[int]) -> Iterator[Finished]:
        dataset = load_dataset(recipe.dataset)
        for images in (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test):
            images.share_memory_()
        context = torch.multiprocessing.get_context("spawn")
        workers = min(self.workers, len(slots))
        with ProcessPoolExecutor(workers, context, _start_worker, (recipe, dataset)) as pool:
            pending: set[Future[Finished]] = {pool.submit(_build_in_worker, slot) for slot in slots}
            try:
                while pending:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield future.result()
            finally:
                for future in pending:
                    future.cancel()


_worker: tuple[Recipe, Dataset] | None = None


def _start_worker(recipe: Recipe, dataset: Dataset) -> None:
    global _worker
    torch.set_num_threads(1)
    _worker = (recipe, dataset)


def _build_in_worker(slot: int) -> Finished:
    from onepixel.populations.build import build_slot

    if _worker is None:
        raise RuntimeError(f"{multiprocessing.current_process().name} was not started by an executor.")
    recipe, dataset = _worker
    return build_slot(recipe, slot, dataset)
