"""Signatures of networks that are there already, computed again under another default image."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from onepixel.datasets import load_dataset
from onepixel.errors import UsageError
from onepixel.populations.build import sign
from onepixel.populations.default_images import default_image_of, short_name
from onepixel.populations.store import Record, Store, sha256, signature_row
from onepixel.populations.zoo import write_population


def resign(
    store: Store,
    default_image: float | str,
    zoo: str | Path,
    *,
    values: int | None = None,
    advance: Callable[[int], None] = lambda slots: None,
) -> Path:
    """Compute the signatures of a store's finished networks under another default image, into a zoo.

    The new population is called NAME-IMAGE and differs in `other_default_image` and `other_values` alone; building its
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
    name = f"{store.recipe.name}-{short_name(default_image)}"
    asked = store.recipe.signature.model_copy(update={"other_default_image": default_image, "other_values": values})
    recipe = store.recipe.model_copy(update={"name": name, "signature": asked})
    records: list[Record] = []
    rows = []
    for record in store.records():
        row = signature_row(sign(recipe, record.slot, store.module(record.slot, dataset.classes), dataset))
        records.append(replace(record, signature_sha256=sha256(row.tobytes())))
        rows.append(row)
        advance(1)
    if not records:
        raise UsageError(f"{store.folder} has no finished network.")
    return write_population(Path(zoo) / name, recipe, default_image_of(default_image, dataset), records, np.stack(rows))
