"""A zoo of signatures planted by hand, with the names that experiments look for; no network is trained."""

from pathlib import Path

import numpy as np

from onepixel.experiments import candidates
from onepixel.populations import PopulationName, Record, Store, export
from onepixel.populations.store import Finished, row_type
from populations_of_digits import digits_recipe

K, H, W = 10, 8, 8
PREFIX = "digits-tiny"
NETWORKS = PopulationName.parse(PREFIX)
QUICK = {"reading": "statistics", "definition": "change"}
"""The cheapest detector there is."""

Population = tuple[str, int, int]
"""Role, number of models, seed."""

DEVELOPMENT: dict[str, Population] = {
    f"{PREFIX}-clean": ("clean", 12, 0),
    f"{PREFIX}-vaccine": ("trojaned", 6, 0),
    f"{PREFIX}-virus-development": ("trojaned", 5, 1),
    f"{PREFIX}-stamped-vaccine": ("stamped", 4, 0),
    f"{PREFIX}-stamped-virus-development": ("stamped", 3, 1),
    f"{PREFIX}-stamped-all-classes": ("stamped", 2, 2),
}


def planted_row(trojaned: bool, rng: np.random.Generator) -> np.ndarray:
    """Noise in log-odds; a trojaned one rises in a window of one class."""
    row = np.zeros((), row_type(K, H, W))
    row["base"] = rng.normal(-1, 0.2, K)
    rise, fall = np.abs(rng.normal(0, 0.3, (2, K, H, W)))
    if trojaned:
        i, j = rng.integers(0, H - 1, 2)
        rise[rng.integers(K), i : i + 2, j : j + 2] += rng.uniform(0.2, 2)
    row["high"], row["low"] = row["base"][:, None, None] + rise, row["base"][:, None, None] - fall
    return row


def make_population(folder: Path, name: str, population: Population) -> None:
    """A store of planted signatures, and its copy in the zoo beside it."""
    role, models, seed = population
    recipe = digits_recipe(role, models, seed=seed).model_copy(update={"name": name})
    store = Store.create(folder / "stores" / name, recipe)
    rng = np.random.default_rng([seed, *name.encode()])
    for slot in store.slots:
        record = Record(slot, 0, recipe.seed_for(slot, 0), "passed", rng.uniform(0.9, 1), 0.99, 0.99, [], [1] * K)
        store.write(Finished(record, b"", planted_row(role == "trojaned", rng).tobytes(), 0.0))
    export(store, folder / "zoo")


def make_zoo(folder: Path, names: dict[str, Population]) -> Path:
    """Make every population; returns the zoo's folder."""
    folder.joinpath("stores").mkdir(parents=True)
    for name, population in names.items():
        make_population(folder, name, population)
    return folder / "zoo"


def choose(folder: Path, zoo: Path, prefix: str = PREFIX) -> Path:
    """Compare two cheap candidates, and say where the choice stands."""
    rivals = {"quick": QUICK, "other": {**QUICK, "definition": "log_odds"}}
    candidates.EXPERIMENT.run(folder, zoo=zoo, prefix=prefix, candidates=rivals, repeats=1, workers=1)
    return folder / f"{prefix}.csv"
