"""How far patches drive every pair of classes in the networks of a store, measured once and kept in a small file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from onepixel.classifiers import as_classifier
from onepixel.datasets import Dataset, load_dataset
from onepixel.errors import StoreError, UsageError
from onepixel.files import atomic_path
from onepixel.parallel import in_processes
from onepixel.populations.default_images import default_image_of
from onepixel.populations.store import Store
from onepixel.populations.training import fast_floats
from onepixel.reaches.rises import pair_rises


@dataclass(frozen=True)
class PairRecords:
    """What was measured of one population's networks.

    Attributes
    ----------
    slots : array of shape (N,), int64
    rises : array of shape (N, K, K), float16
        See `pair_rises`.
    """

    slots: NDArray[np.int64]
    rises: NDArray[np.float16]

    @classmethod
    def load(cls, path: Path) -> "PairRecords":
        """Read a file.

        Raises
        ------
        StoreError
            If it is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                found = cls(file["slots"], file["rises"])
            if found.slots.dtype != np.int64 or found.rises.dtype != np.float16 or found.rises.ndim != 3:
                raise ValueError("the arrays are of another kind")
            if len(found.slots) != len(found.rises):
                raise ValueError("the numbers differ")
        except (OSError, EOFError, KeyError, ValueError, BadZipFile) as error:
            raise StoreError(f"The measured pairs {path} are missing or damaged.") from error
        return found

    def save(self, path: Path) -> None:
        """Write the file, in the order of the slots."""
        path.parent.mkdir(parents=True, exist_ok=True)
        order = np.argsort(self.slots)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, slots=self.slots[order], rises=self.rises[order])

    def of(self, slots: list[int]) -> NDArray[np.float32]:
        """The rises (N, K, K) of these slots that there are."""
        places = {int(slot): place for place, slot in enumerate(self.slots)}
        found: NDArray[np.float32] = self.rises[[places[slot] for slot in slots if slot in places]].astype(np.float32)
        return found


@dataclass(frozen=True)
class Job:
    """A network of a store, and how many test images of each class are driven in it; 0: the class's mean image."""

    folder: Path
    slot: int
    images: int


def measure(job: Job) -> NDArray[np.float16]:
    """Measure one network, in the precision in which its accuracy was measured: rises (K, K)."""
    store = Store.open(job.folder)
    recipe = store.recipe
    dataset = load_dataset(recipe.dataset)
    module = store.module(job.slot, dataset.classes).to(memory_format=torch.channels_last)
    classifier = as_classifier(module, input_shape=dataset.input_shape, outputs="logits", name=f"{job.slot}")
    images = images_of_each(dataset, job.images) if job.images else np.asarray(default_image_of("class means", dataset))
    coarse = recipe.training.evaluation_precision == "bfloat16"
    with fast_floats(), torch.autocast("cpu", torch.bfloat16, enabled=coarse):
        return pair_rises(classifier, images).astype(np.float16)


def images_of_each(dataset: Dataset, each: int) -> NDArray[np.float32]:
    """The first test images of each class, so many: (K, each, C, H, W) in [0, 1].

    Raises
    ------
    UsageError
        If a class has fewer.
    """
    found = [dataset.x_test[dataset.y_test == label][:each].numpy() for label in range(dataset.classes)]
    if (fewest := min(map(len, found))) < each:
        raise UsageError(f"A class of {dataset.name} has {fewest} test images and not {each}.")
    return (np.stack(found) / 255).astype(np.float32)


def measure_store(store: Store, path: Path, images: int = 0, workers: int | None = None) -> Iterator[int]:
    """Measure what the file lacks of a store's networks that reached their thresholds; yields each slot when done.

    `images` test images of each class are driven, or its mean training image.

    The file is written once, at the end, or when the one who asks stops.
    """
    known = PairRecords.load(path) if path.is_file() else None
    have = set() if known is None else set(known.slots.tolist())
    slots = [one.slot for one in store.records() if one.status == "passed" and one.slot not in have]
    found: dict[int, NDArray[np.float16]] = {}
    try:
        done = in_processes(measure, [Job(store.folder, slot, images) for slot in slots], workers)
        for slot, rises in zip(slots, done, strict=True):
            found[slot] = rises
            yield slot
    finally:
        if found:
            new = PairRecords(np.array(list(found), dtype=np.int64), np.stack(list(found.values())))
            if known is not None:
                new = PairRecords(np.r_[known.slots, new.slots], np.concatenate([known.rises, new.rises]))
            new.save(path)
