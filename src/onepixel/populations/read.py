"""Reading the networks of a store one after the other, as classifiers."""

from collections.abc import Iterator
from pathlib import Path

from torch import nn

from onepixel.classifiers import ModuleClassifier
from onepixel.datasets import load_dataset
from onepixel.populations.store import Record, Store


def networks_of(
    store: Store | str | Path, failed: bool = False
) -> Iterator[tuple[Record, nn.Module, ModuleClassifier]]:
    """Yield the record, the module and the classifier of each finished slot, in slot order.

    Parameters
    ----------
    store : Store or path
        With its weights.
    failed : bool
        Whether networks that missed their recipe's thresholds come too; their records say "failed".

    Raises
    ------
    UsageError
        If there is no such population.
    StoreError
        If a record or weights are missing or damaged.
    """
    found = store if isinstance(store, Store) else Store.open(store)
    shape = load_dataset(found.recipe.dataset).input_shape
    for record in found.records():
        if failed or record.status == "passed":
            module = found.module(record.slot)
            yield record, module, ModuleClassifier(module, shape, name=f"{found.recipe.name} {record.slot}")
