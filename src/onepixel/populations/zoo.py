"""The zoo: populations without their weights, small enough to be shipped.

Per population a folder with recipe.toml, table.csv, default_image.npy (where it is no single intensity) and shards of
100 slots at most, `signatures-00000.npz` and on, named after a slot that none of theirs lies below. A population grows
by shards: one that is there is left as it is, so that a history of the zoo keeps it once. A shard holds `base` (n, K)
as float32 and how far the log-odds rise and fall from it, `rise` and `fall`, as float16 with six significant bits and
no finer than 1 / 1024, however far the base lies; what that changes for a detector, `onepixel experiment rounding`
says. Their low and their high bytes lie apart, (2, n, K, H, W), because like beside like compresses better.
"""

from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZIP_BZIP2, BadZipFile, ZipFile

import numpy as np
from numpy.lib.format import write_array
from numpy.typing import NDArray

from onepixel.errors import StoreError, UsageError
from onepixel.files import atomic_path
from onepixel.populations.default_images import read_default_image, write_default_image
from onepixel.populations.recipe import Recipe, settings_of
from onepixel.populations.store import Record, Store, read_table, row_type, write_table
from onepixel.signatures import Settings

SHARD = 100
FINEST = 1024
"""Steps per unit of log-odds, at the most, that rises and falls are kept in."""


class Parts(NamedTuple):
    """One signature as a zoo keeps it.

    Attributes
    ----------
    base : array of shape (K,), float32
    rise, fall : array of shape (K, H, W), float16
        How far the log-odds rise above the base, and fall below it.
    """

    base: NDArray[np.float32]
    rise: NDArray[np.float16]
    fall: NDArray[np.float16]


class ZooPopulation:
    """One population of a zoo; what it shares with `Store` has the same names.

    Parameters
    ----------
    folder : path

    Raises
    ------
    UsageError
        If the folder holds no population.
    StoreError
        If the table is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / "recipe.toml").is_file():
            raise UsageError(f"{folder} holds no population (there is no recipe.toml in it).")
        self.recipe = Recipe.load(self.folder / "recipe.toml")
        self._records = read_table(self.folder / "table.csv")

    @property
    def settings(self) -> Settings:
        """The settings that every signature of this population was computed with."""
        return settings_of(self.recipe.signature, self.default_image)

    @property
    def default_image(self) -> float | NDArray[np.float32]:
        """The default image of every signature: one intensity, or an array (C, H, W)."""
        return read_default_image(self.folder, self.recipe.signature.asked_image)

    def records(self) -> list[Record]:
        """Every slot's record, in slot order."""
        return list(self._records)

    def signatures(self) -> NDArray[np.void]:
        """All signatures as structured rows (low, high, base), in the order of the records.

        Raises
        ------
        StoreError
            If a shard is missing or damaged.
        """
        return _to_rows(self.parts())

    def parts(self) -> list[Parts]:
        """The same as a zoo keeps them, one per record."""
        return [part for shard in self.parts_by_shard().values() for part in shard]

    def shards(self) -> dict[int, list[int]]:
        """Which slots lie in which shard, by the number in its name: its first slot's, or a smaller one."""
        return self.slots_of(self.parts_by_shard())

    def parts_by_shard(self) -> dict[int, list[Parts]]:
        """`parts` by the number in the name of the shard that they lie in, in the order of the records."""
        try:
            paths = {_number_of(path): path for path in self.folder.glob("signatures-*.npz")}
            found = {number: _read_shard(path) for number, path in sorted(paths.items())}
        except (OSError, EOFError, KeyError, ValueError, TypeError, BadZipFile) as error:
            raise StoreError(f"The signatures in {self.folder} are missing or damaged.") from error
        number = sum(map(len, found.values()))
        if not found or number != len(self._records):
            counts = f"there are {len(self._records)} records but {number} signatures"
            raise StoreError(f"The signatures in {self.folder} are missing or damaged: {counts}.")
        self._check(found)
        return found

    def slots_of(self, found: dict[int, list[Parts]]) -> dict[int, list[int]]:
        """`shards` of what `parts_by_shard` gave, without reading it again."""
        slots = (record.slot for record in self._records)
        return {number: list(islice(slots, len(shard))) for number, shard in found.items()}

    def _check(self, found: dict[int, list[Parts]]) -> None:
        """Check that signatures are of one shape, and that shards have the names of their slots."""
        slots = [record.slot for record in self._records]
        shapes = {(len(part.base), part.rise.shape, part.fall.shape) for shard in found.values() for part in shard}
        one_shape = len(shapes) == 1 and all(
            rise == fall and len(rise) == 3 and rise[0] == n for n, rise, fall in shapes
        )
        if not one_shape or slots != sorted(set(slots)):
            raise StoreError(f"The signatures in {self.folder} are missing or damaged.")
        ends = [*list(found)[1:], slots[-1] + 1]
        for (number, own), end in zip(self.slots_of(found).items(), ends, strict=True):
            if not number <= own[0] <= own[-1] < end:
                name = _shard_name(number)
                raise StoreError(f"The signatures in {self.folder} are missing or damaged: {name} has other slots.")


def open_population(folder: str | Path) -> Store | ZooPopulation:
    """Open a store, or a population of a zoo.

    Raises
    ------
    UsageError
        If the folder holds neither.
    """
    path = Path(folder)
    return Store.open(path) if (path / "models").is_dir() else ZooPopulation(path)


def passed(population: Store | ZooPopulation) -> tuple[NDArray[np.void], list[Record]]:
    """Signatures and records of the finished models that reached their thresholds, in slot order."""
    records = list(population.records())
    rows = population.signatures()
    first = population.recipe.first_slot
    index = {record.slot: number for number, record in enumerate(records)}
    if isinstance(population, Store):
        index = {record.slot: record.slot - first for record in records}
    kept = [record for record in records if record.status == "passed"]
    return np.array(rows[[index[record.slot] for record in kept]]), kept


def export(store: Store, zoo: str | Path) -> Path:
    """Copy a store's recipe, table and signatures into a zoo; what is finished counts, the rest is left out.

    Where the zoo has other slots of the same population already, these stay, so that a population grows by ranges of
    slots that were built apart (`Recipe.first_slot`).

    Returns
    -------
    Path
        The population's folder in the zoo.

    Raises
    ------
    UsageError
        If nothing is finished, or the zoo has another population under this name.
    StoreError
        If what the zoo has is damaged.
    """
    records = list(store.records())
    if not records:
        raise UsageError(f"{store.folder} has no finished network.")
    rows = store.signatures()[[record.slot - store.recipe.first_slot for record in records]]
    return write_population(Path(zoo) / store.recipe.name, store.recipe, store.default_image, records, rows)


def write_population(
    folder: Path,
    recipe: Recipe,
    default_image: float | NDArray[np.float32],
    records: list[Record],
    rows: NDArray[np.void],
) -> Path:
    """Write a population of a zoo, or add to it: records, and their signatures in the same order; see `export`.

    Returns
    -------
    Path
        The folder.
    """
    known = {record.slot: (record, part) for record, part in zip(records, _to_parts(rows), strict=True)}
    shards: dict[int, list[int]] = {}
    if (folder / "recipe.toml").is_file():
        there = ZooPopulation(folder)
        if not there.recipe.grows_to(recipe):
            raise UsageError(f"{folder} holds a population of another recipe; export into another zoo.")
        kept = there.parts_by_shard()
        shards = there.slots_of(kept)
        parts = (part for shard in kept.values() for part in shard)
        known |= {record.slot: (record, part) for record, part in zip(there.records(), parts, strict=True)}
    folder.mkdir(parents=True, exist_ok=True)
    for number, shard in _changed(shards, set(known)).items():
        _write_shard(folder / _shard_name(number), [known[slot][1] for slot in shard])
    write_default_image(folder, default_image)
    slots = sorted(known)
    write_table(folder / "table.csv", [known[slot][0] for slot in slots])
    recipe.model_copy(update={"models": len(slots), "first_slot": slots[0]}).save(folder / "recipe.toml")
    return folder


def _changed(shards: dict[int, list[int]], slots: set[int]) -> dict[int, list[int]]:
    """The shards to write, their slots by their numbers, so that these slots are there besides those that shards have.

    New slots make new shards, and a shard that is there stays as it is, unless new ones lie between its own.
    """
    changed: dict[int, list[int]] = {}
    for slot in sorted(slots.difference(*shards.values())):
        before = max((number for number in shards if number <= slot), default=None)
        if before is not None and slot < shards[before][-1]:
            changed[before] = sorted([*changed.get(before, shards[before]), slot])
            continue
        latest = max((number for number in changed if number not in shards), default=None)
        if latest is None or latest // SHARD != slot // SHARD or (before is not None and before > latest):
            latest = slot
        changed.setdefault(latest, []).append(slot)
    return changed


def as_kept(rows: NDArray[np.void]) -> NDArray[np.void]:
    """Structured rows (low, high, base) as a zoo gives them back: rises and falls rounded."""
    return _to_rows(_to_parts(rows))


def _to_parts(rows: NDArray[np.void]) -> list[Parts]:
    return [
        Parts(row["base"], _rounded(row["high"] - centre), _rounded(centre - row["low"]))
        for row in rows
        for centre in [row["base"][:, None, None]]
    ]


def _rounded(numbers: NDArray[np.float32]) -> NDArray[np.float16]:
    """As float16, multiples of 1 / 1024 with six significant bits: off by at most 1 / 2048 plus 1 / 64 of each."""
    steps = np.rint(numbers.astype(np.float32) * FINEST) / FINEST
    bits = steps.astype(np.float16).view(np.uint16)
    return ((bits + 16) & np.uint16(0xFFE0)).view(np.float16)


def _to_rows(parts: list[Parts]) -> NDArray[np.void]:
    rows = np.zeros(len(parts), dtype=row_type(*parts[0].rise.shape))
    for row, part in zip(rows, parts, strict=True):
        centre = part.base[:, None, None]
        row["base"] = part.base
        row["high"], row["low"] = centre + part.rise.astype("f4"), centre - part.fall.astype("f4")
    return rows


def _shard_name(number: int) -> str:
    return f"signatures-{number:05d}.npz"


def _number_of(path: Path) -> int:
    """The number in a shard's name; a ValueError if nothing here gave it that name."""
    number = int(path.stem.removeprefix("signatures-"))
    if path.name != _shard_name(number) or number < 0:
        raise ValueError(f"{path.name} is no shard's name")
    return number


def _write_shard(path: Path, parts: list[Parts]) -> None:
    base, rise, fall = (np.stack(arrays) for arrays in zip(*parts, strict=True))
    arrays = {"base": base, "rise": _planes(rise), "fall": _planes(fall)}
    with atomic_path(path) as temporary, ZipFile(temporary, "w", ZIP_BZIP2) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                write_array(file, array, allow_pickle=False)


def _read_shard(path: Path) -> list[Parts]:
    with np.load(path, allow_pickle=False) as file:
        planes = file["rise"], file["fall"]
        if any(kept.dtype != np.uint8 for kept in planes):
            raise ValueError("rises and falls are kept as bytes")
        found = [Parts(*arrays) for arrays in zip(file["base"], *map(_whole, planes), strict=True)]
    if not found:
        raise ValueError("a shard has a signature at least")
    return found


def _planes(numbers: NDArray[np.float16]) -> NDArray[np.uint8]:
    """The low bytes of all numbers and then the high ones, (2, ...): alike beside alike compresses better."""
    pairs = np.ascontiguousarray(numbers, dtype="<f2").view(np.uint8).reshape(*numbers.shape, 2)
    return np.ascontiguousarray(np.moveaxis(pairs, -1, 0))


def _whole(kept: NDArray[Any]) -> NDArray[np.float16]:
    """Numbers out of `_planes`."""
    whole: NDArray[np.float16] = np.ascontiguousarray(np.moveaxis(kept, 0, -1)).view("<f2")[..., 0]
    return whole
