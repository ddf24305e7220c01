"""Signatures of networks that are there already, computed again under another default image."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onepixel.datasets import load_dataset
from onepixel.errors import UsageError
from onepixel.parallel import in_processes
from onepixel.populations.build import sign
from onepixel.populations.default_images import default_image_of, short_name
from onepixel.populations.recipe import Recipe
from onepixel.populations.store import Store, sha256, signature_row
from onepixel.populations.zoo import write_population


def resign(
    store: Store,
    default_image: float | str,
    zoo: str | Path,
    *,
    values: int | None = None,
    name: str | None = None,
    workers: int | None = None,
    advance: Callable[[int], None] = lambda slots: None,
) -> Path:
    """Compute the signatures of a store's finished networks under another default image, into a zoo.

    The new population has another name and differs in `other_default_image` and `other_values` alone; building its
    recipe makes the same networks again. Slots of it that the zoo has already stay, as with `export`.

    Parameters
    ----------
    store : Store
        With its weights.
    default_image : float or str
        See `onepixel.populations.default_images`.
    zoo : path
    values : int, optional
        Another size of the value grid.
    name : str, optional
        The new population's; NAME-IMAGE unless said.
    workers : int, optional
        Processes; one per core unless said.
    advance : callable
        Called with 1 after each network.

    Returns
    -------
    Path
        The population's folder in the zoo.

    Raises
    ------
    UsageError
        If the store has no finished network, or the data set no such image.
    StoreError
        If weights are missing or damaged.
    """
    dataset = load_dataset(store.recipe.dataset)
    name = name or f"{store.recipe.name}-{short_name(default_image)}"
    asked = store.recipe.signature.model_copy(
        update={"other_default_image": default_image, "other_values": values, "computed": True}
    )
    recipe = store.recipe.model_copy(update={"name": name, "signature": asked})
    old = list(store.records())
    if not old:
        raise UsageError(f"{store.folder} has no finished network.")
    rows = []
    for row in in_processes(_signed, [_Job(recipe, store.folder, record.slot) for record in old], workers):
        rows.append(row)
        advance(1)
    records = [replace(record, signature_sha256=sha256(row.tobytes())) for record, row in zip(old, rows, strict=True)]
    return write_population(Path(zoo) / name, recipe, default_image_of(default_image, dataset), records, np.stack(rows))


@dataclass(frozen=True)
class _Job:
    """A network of a store, and how it is to be signed."""

    recipe: Recipe
    folder: Path
    slot: int


def _signed(job: _Job) -> NDArray[np.void]:
    dataset = load_dataset(job.recipe.dataset)
    module = Store.open(job.folder).module(job.slot, dataset.classes)
    return signature_row(sign(job.recipe, job.slot, module, dataset))
