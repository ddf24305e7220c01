"""Building a population: every unfinished slot is trained, signed and kept; killed at any moment, it can go on."""

import fcntl
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save as save_tensors
from torch import nn

from onepixel.classifiers import ModuleClassifier
from onepixel.datasets import Dataset
from onepixel.errors import UsageError
from onepixel.populations.default_images import default_image_of
from onepixel.populations.executors import Executor, LocalExecutor
from onepixel.populations.recipe import Recipe
from onepixel.populations.stacked_training import train_stack
from onepixel.populations.store import Finished, Record, Store, sha256, signature_row
from onepixel.populations.training import TrainedModel, fast_floats, train_model
from onepixel.signatures import Signature, signature, signatures_of


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


def passes(recipe: Recipe, model: TrainedModel) -> bool:
    """Whether a network reaches the recipe's thresholds, if they are enforced.

    Attack success counts for trojaned models only.
    """
    if not recipe.thresholds.enforced:
        return True
    accurate = model.clean_accuracy >= recipe.thresholds.clean_accuracy
    obedient = recipe.role != "trojaned" or model.attack_success >= recipe.thresholds.attack_success
    return accurate and obedient


def tried_enough(recipe: Recipe, attempts: list[TrainedModel]) -> bool:
    """Whether the last attempt at a slot is kept: it passes, or there may be no other."""
    return bool(attempts) and (passes(recipe, attempts[-1]) or len(attempts) == recipe.thresholds.attempts)


def build_slot(recipe: Recipe, slot: int, dataset: Dataset) -> Finished:
    """Train one slot until it passes or its attempts are spent, compute its signature, and return it all as bytes."""
    started = time.perf_counter()
    attempts: list[TrainedModel] = []
    while not tried_enough(recipe, attempts):
        attempts.append(train_model(recipe, dataset, recipe.seed_for(slot, len(attempts))))
    found = sign(recipe, slot, attempts[-1].module, dataset)
    return finish(recipe, slot, attempts, found, time.perf_counter() - started)


def sign(recipe: Recipe, slot: int, module: nn.Module, dataset: Dataset) -> Signature:
    """Compute the signature of one slot's network as the recipe asks."""
    asked = recipe.signature
    image = default_image_of(asked.asked_image, dataset)
    classifier = ModuleClassifier(module, dataset.input_shape, name=f"{recipe.name} {slot}")
    with fast_floats():
        return signature(classifier, values=asked.asked_values, inclusive=asked.inclusive, default_image=image)


def build_stack(recipe: Recipe, slots: Sequence[int], dataset: Dataset, device: torch.device) -> list[Finished]:
    """As `build_slot` for several slots, trained and signed together on one device; retries share a stack too."""
    started = time.perf_counter()
    attempts: dict[int, list[TrainedModel]] = {slot: [] for slot in slots}
    while waiting := [slot for slot in slots if not tried_enough(recipe, attempts[slot])]:
        seeds = [recipe.seed_for(slot, len(attempts[slot])) for slot in waiting]
        for slot, model in zip(waiting, train_stack(recipe, dataset, seeds, device), strict=True):
            attempts[slot].append(model)
    asked = recipe.signature
    classifiers = [
        ModuleClassifier(attempts[slot][-1].module, dataset.input_shape, name=f"{recipe.name} {slot}") for slot in slots
    ]
    image = default_image_of(asked.asked_image, dataset)
    with fast_floats():
        found = signatures_of(classifiers, values=asked.asked_values, inclusive=asked.inclusive, default_image=image)
    seconds = (time.perf_counter() - started) / len(slots)
    return [finish(recipe, slot, attempts[slot], one, seconds) for slot, one in zip(slots, found, strict=True)]


def finish(recipe: Recipe, slot: int, attempts: list[TrainedModel], found: Signature, seconds: float) -> Finished:
    """Put together what is kept of one slot: the last attempt, and how those before it failed."""
    *failed, model = attempts
    weights = save_tensors({name: tensor.cpu() for name, tensor in model.module.state_dict().items()})
    row = signature_row(found).tobytes()
    record = Record(
        slot=slot,
        attempt=len(failed),
        seed=recipe.seed_for(slot, len(failed)),
        status="passed" if passes(recipe, model) else "failed",
        clean_accuracy=model.clean_accuracy,
        attack_success=model.attack_success,
        stamped_accuracy=model.stamped_accuracy,
        failures=[[attempt.clean_accuracy, attempt.attack_success] for attempt in failed],
        target_of=list(model.attack.target_of),
        trigger=model.trigger,
        weights_sha256=sha256(weights),
        signature_sha256=sha256(row),
    )
    return Finished(record, weights, row, seconds)


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
