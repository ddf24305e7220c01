"""The store: a folder that holds one population, written by one process only, and readable while it grows.

recipe.toml            what was asked for
models/00012.json      the record of slot 12; its presence says that the slot is finished
models/00012.safetensors   its weights
signatures.npy         a structured array, one row (low, high, base) per slot, that can be memory-mapped; not where
                       the recipe asks for no signatures
default_image.npy      the default image, where it is no single intensity
table.csv              all records in slot order, assembled when the build ends
build.log              times and hosts, which no comparison reads
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import nn

from onepixel.datasets import load_dataset
from onepixel.errors import StoreError, UsageError
from onepixel.files import atomic_path, write_text
from onepixel.populations.default_images import default_image_of, read_default_image, write_default_image
from onepixel.populations.networks import network_of
from onepixel.populations.recipe import Recipe, settings_of
from onepixel.signatures import Settings, Signature

Status = Literal["passed", "failed"]


@dataclass(frozen=True)
class Record:
    """What is known about one slot.

    Attributes
    ----------
    slot, attempt, seed : int
        The attempt that is kept: the first that passed, else the last.
    status : {"passed", "failed"}
        Whether it reached the recipe's thresholds.
    clean_accuracy, attack_success, stamped_accuracy : float
        See `TrainedModel`.
    failures : list of [clean accuracy, attack success]
        Of the attempts that were given up before.
    target_of : list of int
        See `Attack`.
    trigger : dict
    network : dict
        What was drawn about a network of random architecture; `onepixel.architectures.random` builds it from this.
    weights_sha256, signature_sha256 : str
        Of the weights file, and of the slot's row in the array; empty where there are no signatures.
    """

    slot: int
    attempt: int
    seed: int
    status: Status
    clean_accuracy: float
    attack_success: float
    stamped_accuracy: float
    failures: list[list[float]]
    target_of: list[int]
    trigger: dict[str, Any] = field(default_factory=dict)
    weights_sha256: str = ""
    signature_sha256: str = ""
    network: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Finished:
    """What a worker sends back: bytes, which only the driver writes."""

    record: Record
    weights: bytes
    signature: bytes
    seconds: float


def row_type(classes: int, height: int, width: int) -> np.dtype[np.void]:
    """The type of one row of `signatures.npy`: low and high (K, H, W) and base (K,), float32 log-odds."""
    maps = ("<f4", (classes, height, width))
    return np.dtype([("low", *maps), ("high", *maps), ("base", "<f4", (classes,))])


def signature_row(signature: Signature) -> NDArray[np.void]:
    """One row, shape (), of the array from a complete signature."""
    row = np.zeros((), dtype=row_type(*signature.shape))
    row["low"], row["high"], row["base"] = signature.low, signature.high, signature.base
    return row


def write_table(path: Path, records: list[Record]) -> None:
    """Write records as CSV, one column per field; lists and tables are JSON."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    columns = [column.name for column in fields(Record)]
    table.writerow(columns)
    for record in records:
        values = asdict(record)
        table.writerow([values[c] if isinstance(values[c], str) else json.dumps(values[c]) for c in columns])
    write_text(path, text.getvalue())


def read_table(path: Path) -> list[Record]:
    """Read what `write_table` wrote.

    Raises
    ------
    StoreError
        If the table is missing or damaged.
    """
    texts = {column.name for column in fields(Record) if column.type in (str, Status)}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows: list[dict[str, Any]] = list(csv.DictReader(file))
        return [Record(**{key: row[key] if key in texts else json.loads(row[key]) for key in row}) for row in rows]
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"The table {path} is missing or damaged.") from error


def sha256(content: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(content).hexdigest()


class Store:
    """One population on disk. Open it with `Store.create` or `Store.open`."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.folder = folder
        self.recipe = recipe
        self.slots = range(recipe.first_slot, recipe.first_slot + recipe.models)

    @classmethod
    def create(cls, folder: str | Path, recipe: Recipe) -> "Store":
        """Open the folder for this recipe, making it where it is not there; what is finished stays.

        A recipe that differs in its number of models alone grows the population.

        Raises
        ------
        UsageError
            If the folder holds a population of another recipe.
        """
        store = cls(Path(folder), recipe)
        if store.recipe_path.exists():
            present = Recipe.load(store.recipe_path)
            if not present.same_population(recipe):
                raise UsageError(f"{folder} holds a population of another recipe; build into another folder.")
            if recipe.models < present.models:
                raise UsageError(
                    f"{folder} already has {present.models} slots, more than the {recipe.models} asked for."
                )
        store.models_folder.mkdir(parents=True, exist_ok=True)
        for left_over in [*store.folder.glob(".*.tmp"), *store.models_folder.glob(".*.tmp")]:
            left_over.unlink()
        recipe.save(store.recipe_path)
        if recipe.signature.computed:
            image = default_image_of(recipe.signature.asked_image, load_dataset(recipe.dataset))
            write_default_image(store.folder, image)
            store._reserve_array()
        return store

    @classmethod
    def open(cls, folder: str | Path) -> "Store":
        """Open a population that exists.

        Raises
        ------
        UsageError
            If the folder holds no population.
        StoreError
            If its array does not have the size that its recipe asks for.
        """
        path = Path(folder)
        if not (path / "recipe.toml").is_file():
            raise UsageError(f"{folder} holds no population (there is no recipe.toml in it).")
        store = cls(path, Recipe.load(path / "recipe.toml"))
        if store.recipe.signature.computed:
            store._check_array()
        return store

    @property
    def recipe_path(self) -> Path:
        """recipe.toml."""
        return self.folder / "recipe.toml"

    @property
    def models_folder(self) -> Path:
        """models/."""
        return self.folder / "models"

    @property
    def array_path(self) -> Path:
        """signatures.npy."""
        return self.folder / "signatures.npy"

    @property
    def table_path(self) -> Path:
        """table.csv."""
        return self.folder / "table.csv"

    def record_path(self, slot: int) -> Path:
        """The record of a slot."""
        return self.models_folder / f"{slot:05d}.json"

    def weights_path(self, slot: int) -> Path:
        """The weights of a slot."""
        return self.models_folder / f"{slot:05d}.safetensors"

    def unfinished(self) -> list[int]:
        """Slots without a record, in order."""
        return [slot for slot in self.slots if not self.record_path(slot).exists()]

    def write(self, finished: Finished) -> None:
        """Keep one slot: weights and signature first, the record, which makes them count, last."""
        slot = finished.record.slot
        with atomic_path(self.weights_path(slot)) as temporary:
            temporary.write_bytes(finished.weights)
        if finished.signature:
            with self.array_path.open("r+b") as file:
                file.seek(self._row_offset(slot))
                file.write(finished.signature)
                file.flush()
                os.fsync(file.fileno())
        write_text(self.record_path(slot), json.dumps(asdict(finished.record), indent=1) + "\n")

    def log(self, line: str) -> None:
        """Append a line to build.log."""
        with (self.folder / "build.log").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def record(self, slot: int) -> Record:
        """Read one record.

        Raises
        ------
        StoreError
            If it is missing or damaged.
        """
        try:
            return Record(**json.loads(self.record_path(slot).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise StoreError(f"The record {self.record_path(slot)} is missing or damaged.") from error

    def records(self) -> Iterator[Record]:
        """Read every finished slot's record, in slot order."""
        unfinished = set(self.unfinished())
        return (self.record(slot) for slot in self.slots if slot not in unfinished)

    def write_table(self) -> None:
        """Assemble table.csv in slot order."""
        write_table(self.table_path, list(self.records()))

    def signatures(self) -> NDArray[np.void]:
        """Memory-map the array, rows in slot order; rows of unfinished slots are zero.

        Raises
        ------
        UsageError
            If the population was built without signatures.
        StoreError
            If the array is missing or truncated.
        """
        if not self.recipe.signature.computed:
            raise UsageError(
                f"{self.recipe.name} was built without signatures; `onepixel population resign` makes them."
            )
        self._check_array()
        return np.load(self.array_path, mmap_mode="r", allow_pickle=False)

    def signature(self, slot: int) -> Signature:
        """The signature of one finished slot."""
        self.record(slot)
        row = self.signatures()[slot - self.recipe.first_slot]
        low, high, base = (np.array(row[name]) for name in ("low", "high", "base"))
        return Signature(low, high, base, self.settings, classifier=f"{self.recipe.name} {slot}")

    @property
    def settings(self) -> Settings:
        """The settings that every signature of this population was computed with."""
        return settings_of(self.recipe.signature, self.default_image)

    @property
    def default_image(self) -> float | NDArray[np.float32]:
        """The default image of every signature: one intensity, or an array (C, H, W)."""
        return read_default_image(self.folder, self.recipe.signature.asked_image)

    def module(self, slot: int, classes: int | None = None) -> nn.Module:
        """Build the network of one finished slot, in eval mode.

        Raises
        ------
        StoreError
            If its weights are missing or damaged.
        """
        record = self.record(slot)
        shape = load_dataset(self.recipe.dataset).input_shape
        module = network_of(self.recipe, record.network, shape, classes or len(record.target_of))
        try:
            module.load_state_dict(load_tensors(self.weights_path(slot).read_bytes()))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise StoreError(f"The weights {self.weights_path(slot)} are missing or damaged.") from error
        return module.eval()

    def _row_type(self) -> np.dtype[np.void]:
        dataset = load_dataset(self.recipe.dataset)
        stride = self.recipe.signature.stride
        return row_type(dataset.classes, *(-(-length // stride) for length in dataset.input_shape[1:]))

    def _header(self, rows: int, kind: np.dtype[np.void]) -> bytes:
        header = io.BytesIO()
        description = {"descr": npy_format.dtype_to_descr(kind), "fortran_order": False, "shape": (rows,)}
        npy_format.write_array_header_1_0(header, description)
        return header.getvalue()

    def _reserve_array(self) -> None:
        """Make the array large enough for every slot, keeping the rows that are there."""
        kind = self._row_type()
        rows = self.recipe.models
        header = self._header(rows, kind)
        if self.array_path.exists() and self.array_path.stat().st_size == len(header) + rows * kind.itemsize:
            return
        content = b""
        if self.array_path.exists():
            old = self.array_path.read_bytes()
            content = old[len(header) :][: rows * kind.itemsize]
        with atomic_path(self.array_path) as temporary, temporary.open("wb") as file:
            file.write(header + content)
            file.truncate(len(header) + rows * kind.itemsize)

    def _row_offset(self, slot: int) -> int:
        with self.array_path.open("rb") as file:
            npy_format.read_magic(file)
            _, _, kind = npy_format.read_array_header_1_0(file)
            return file.tell() + (slot - self.recipe.first_slot) * kind.itemsize

    def _check_array(self) -> None:
        try:
            with self.array_path.open("rb") as file:
                npy_format.read_magic(file)
                shape, _, kind = npy_format.read_array_header_1_0(file)
                expected = file.tell() + shape[0] * kind.itemsize
        except (OSError, ValueError) as error:
            raise StoreError(f"The array {self.array_path} is missing or damaged.") from error
        size = self.array_path.stat().st_size
        if size != expected or shape[0] != self.recipe.models:
            raise StoreError(
                f"The array {self.array_path} has {size} bytes where {expected} for {self.recipe.models} signatures "
                "were expected; it is truncated or of another population."
            )
