"""Checking a store: every checksum, and a sample of accuracies and signatures computed again from the weights."""

from dataclasses import dataclass

import numpy as np

from onepixel.datasets import load_dataset
from onepixel.populations.build import sign
from onepixel.populations.store import Record, Store, sha256
from onepixel.populations.training import accuracy

TOLERANCE = 1e-3
"""Largest difference in log-odds between a stored signature and the same computed on another machine."""


@dataclass(frozen=True)
class Verification:
    """What a check found.

    Attributes
    ----------
    checked : int
        Slots whose checksums were compared.
    recomputed : int
        Slots whose accuracy and signature were computed again.
    faults : tuple of str
        One sentence each; empty where all is well.
    """

    checked: int
    recomputed: int
    faults: tuple[str, ...]


def verify(store: Store, sample: int = 3, seed: int = 0) -> Verification:
    """Compare every checksum of a store, and recompute accuracy and signature of a random sample of slots."""
    records = list(store.records())
    rows = store.signatures() if store.recipe.signature.computed else None
    faults = [fault for record in records for fault in _checksum_faults(store, record, rows)]
    rng = np.random.default_rng(seed)
    count = min(sample, len(records))
    chosen = [records[number] for number in sorted(rng.choice(len(records), count, replace=False))] if count else []
    if not faults:
        faults = [fault for record in chosen for fault in _recomputed_faults(store, record)]
    return Verification(len(records), len(chosen), tuple(faults))


def _checksum_faults(store: Store, record: Record, rows: np.ndarray | None) -> list[str]:
    faults = []
    path = store.weights_path(record.slot)
    if not path.is_file() or sha256(path.read_bytes()) != record.weights_sha256:
        faults.append(f"The weights of slot {record.slot} are missing or changed.")
    if rows is not None and sha256(rows[record.slot - store.recipe.first_slot].tobytes()) != record.signature_sha256:
        faults.append(f"The signature of slot {record.slot} is changed.")
    return faults


def _recomputed_faults(store: Store, record: Record) -> list[str]:
    dataset = load_dataset(store.recipe.dataset)
    module = store.module(record.slot)
    found = accuracy(module, dataset, store.recipe.training.evaluation_precision)
    faults = []
    if abs(found - record.clean_accuracy) > 1 / len(dataset.y_test) + 1e-9:
        faults.append(f"Slot {record.slot} has a clean accuracy of {found:.2%}, not {record.clean_accuracy:.2%}.")
    if not store.recipe.signature.computed:
        return faults
    again = sign(store.recipe, record.slot, module, dataset)
    stored = store.signature(record.slot)
    difference = max(float(np.abs(again.low - stored.low).max()), float(np.abs(again.high - stored.high).max()))
    if not difference <= TOLERANCE:
        faults.append(f"The signature of slot {record.slot} differs from its weights' by {difference:.2g} in log-odds.")
    return faults
