"""The zoo: populations without their weights, small enough to be shipped.

Per population a folder with recipe.toml, table.csv, default_image.npy (where it is no single intensity) and shards of
100 slots each, `signatures-00000.npz` and on. A shard holds `base` (n, K) as float32 and how far the log-odds rise and
fall from it, `rise` and `fall` (n, K, H, W), as float16: differences keep eleven significant bits however far the base
lies, which no detector tells from float32 (`onepixel experiment rounding`).
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onepixel.errors import StoreError, UsageError
from onepixel.files import atomic_path
from onepixel.populations.default_images import read_default_image, write_default_image
from onepixel.populations.recipe import Recipe, settings_of
from onepixel.populations.store import Record, Store, read_table, row_type, write_table
from onepixel.signatures import Settings

SHARD = 100


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
        shards = sorted(self.folder.glob("signatures-*.npz"))
        try:
            rows = np.concatenate([_read_shard(shard) for shard in shards])
        except (OSError, KeyError, ValueError) as error:
            raise StoreError(f"The signatures in {self.folder} are missing or damaged.") from error
        if len(rows) != len(self._records):
            raise StoreError(f"{self.folder} has {len(self._records)} records but {len(rows)} signatures.")
        return rows


def open_population(folder: str | Path) -> Store | ZooPopulation:
    """Open a store, or a population of a zoo.

    Raises
    ------
    UsageError
        If the folder holds neither.
    """
    path = Path(folder)
    return Store.open(path) if (path / "signatures.npy").exists() else ZooPopulation(path)


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

    Returns
    -------
    Path
        The population's folder in the zoo.
    """
    records = list(store.records())
    rows = store.signatures()[[record.slot - store.recipe.first_slot for record in records]]
    return write_population(Path(zoo) / store.recipe.name, store.recipe, store.default_image, records, rows)


def write_population(
    folder: Path,
    recipe: Recipe,
    default_image: float | NDArray[np.float32],
    records: list[Record],
    rows: NDArray[np.void],
) -> Path:
    """Write a population of a zoo: its records, and their signatures in the same order.

    Returns
    -------
    Path
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    slots = np.array([record.slot for record in records], dtype=np.int64)
    for start in range(recipe.first_slot, recipe.first_slot + recipe.models, SHARD):
        chosen = (slots >= start) & (slots < start + SHARD)
        if chosen.any():
            _write_shard(folder / f"signatures-{start:05d}.npz", rows[chosen])
    write_default_image(folder, default_image)
    write_table(folder / "table.csv", records)
    recipe.model_copy(update={"models": len(records)}).save(folder / "recipe.toml")
    return folder


def as_kept(rows: NDArray[np.void]) -> NDArray[np.void]:
    """Structured rows (low, high, base) as a zoo gives them back: rises and falls rounded to float16."""
    return _to_rows(*_to_parts(rows))


def _to_parts(rows: NDArray[np.void]) -> tuple[NDArray[np.float32], NDArray[np.float16], NDArray[np.float16]]:
    base = rows["base"]
    centre = base[:, :, None, None]
    return base, (rows["high"] - centre).astype(np.float16), (centre - rows["low"]).astype(np.float16)


def _to_rows(base: NDArray[np.float32], rise: NDArray[np.float16], fall: NDArray[np.float16]) -> NDArray[np.void]:
    rows = np.zeros(len(base), dtype=row_type(*rise.shape[1:]))
    centre = base[:, :, None, None]
    rows["base"], rows["high"], rows["low"] = base, centre + rise.astype("f4"), centre - fall.astype("f4")
    return rows


def _write_shard(path: Path, rows: NDArray[np.void]) -> None:
    base, rise, fall = _to_parts(rows)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, base=base, rise=rise, fall=fall)


def _read_shard(path: Path) -> NDArray[np.void]:
    with np.load(path, allow_pickle=False) as file:
        return _to_rows(file["base"], file["rise"], file["fall"])
