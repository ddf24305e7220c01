"""Building a population: every unfinished slot is trained, signed and kept; killed at any moment, it can go on."""

import fcntl
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from onepixel.errors import UsageError
from onepixel.populations.bases import check_base
from onepixel.populations.executors import Executor, LocalExecutor
from onepixel.populations.recipe import Recipe
from onepixel.populations.store import Record, Store


@dataclass(frozen=True)
class Progress:
    """How far a build is.

    Attributes
    ----------
    done, total, failed : int
        Slots; failed ones are among the done.
    clean_accuracy, attack_success : float
        Means over the slots done so far.
    seconds_left : float
        Estimated from this build's own pace; 0 when done.
    """

    done: int
    total: int
    failed: int
    clean_accuracy: float
    attack_success: float
    seconds_left: float

    def __str__(self) -> str:
        left = time.strftime("%H:%M:%S", time.gmtime(self.seconds_left))
        return (
            f"{self.done}/{self.total} models, clean accuracy {self.clean_accuracy:.2%}, "
            f"attack success {self.attack_success:.2%}, {self.failed} failed, {left} left"
        )


def build(
    recipe: Recipe,
    folder: str | Path,
    *,
    executor: Executor | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Store:
    """Build a population, or go on with one that was interrupted.

    Parameters
    ----------
    recipe : Recipe
    folder : path
        The store; made where it is not there.
    executor : Executor, optional
        Where models are trained: local processes, one per core, unless said otherwise.
    report : callable
        Told the `Progress` after each model.

    Returns
    -------
    Store

    Raises
    ------
    UsageError
        If the folder holds another population, another build is writing it, or the recipe cannot be carried out.
    """
    check_base(recipe)
    with only_writer(Path(folder)):
        return _build(recipe, folder, executor or LocalExecutor(), report)


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Keep other builds out of a store meanwhile; the lock goes with the process, however that ends.

    Raises
    ------
    UsageError
        If another build has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "build.log").open("a", encoding="utf-8") as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"Another build is writing {folder}; wait until it ends, or stop it.") from error
        yield


def _build(recipe: Recipe, folder: str | Path, executor: Executor, report: Callable[[Progress], None]) -> Store:
    store = Store.create(folder, recipe)
    records = list(store.records())
    waiting = store.unfinished()
    started = time.perf_counter()
    for built, finished in enumerate(executor.run(recipe, waiting), start=1):
        store.write(finished)
        records.append(finished.record)
        pace = (time.perf_counter() - started) / built
        store.log(f"slot {finished.record.slot} {finished.seconds:.1f} s on {platform.node()}")
        report(summarize(records, recipe.models, pace * (len(waiting) - built)))
    store.write_table()
    return store


def summarize(records: list[Record], total: int, seconds_left: float) -> Progress:
    """Count what is done."""
    done = len(records)
    return Progress(
        done=done,
        total=total,
        failed=sum(record.status == "failed" for record in records),
        clean_accuracy=sum(record.clean_accuracy for record in records) / max(1, done),
        attack_success=sum(record.attack_success for record in records) / max(1, done),
        seconds_left=seconds_left,
    )
