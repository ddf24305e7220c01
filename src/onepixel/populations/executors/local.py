"""One process per core of this machine."""

from collections.abc import Iterator, Sequence

from onepixel.datasets import Dataset, load_dataset
from onepixel.errors import UsageError
from onepixel.parallel import start_worker
from onepixel.populations.build import build_slot
from onepixel.populations.executors.processes import Workers
from onepixel.populations.recipe import Recipe
from onepixel.populations.store import Finished
from onepixel.threads import cores


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
        self.workers = workers or cores()
        self.restarts = restarts

    def run(self, recipe: Recipe, slots: Sequence[int]) -> Iterator[Finished]:
        """Yield each slot as it is finished; models whose worker died are started again."""
        shared = (recipe, in_shared_memory(load_dataset(recipe.dataset)))
        return Workers(self.workers, _start_worker, shared, _build_in_worker, self.restarts).run(slots)


def in_shared_memory(dataset: Dataset) -> Dataset:
    """Move a data set where all processes of this machine see it, in place."""
    for images in (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test):
        images.share_memory_()
    return dataset


_worker: tuple[Recipe, Dataset]


def _start_worker(recipe: Recipe, dataset: Dataset) -> None:
    global _worker
    start_worker()
    _worker = (recipe, dataset)


def _build_in_worker(slot: int) -> Finished:
    recipe, dataset = _worker
    return build_slot(recipe, slot, dataset)
