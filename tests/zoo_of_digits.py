"""A zoo of tiny digit populations with the names that experiments look for, and a choice of detector beside it."""

from pathlib import Path

from onepixel.experiments import candidates
from onepixel.populations import build, export
from populations_of_digits import InProcess, digits_recipe

PREFIX = "digits-tiny"
QUICK = {"reading": "statistics", "definition": "change"}
"""The cheapest detector there is."""


def make_zoo(folder: Path, *, names: dict[str, tuple[str, int, int]]) -> Path:
    """Build populations, given by name as (role, models, seed), and export them."""
    for name, (role, models, seed) in names.items():
        recipe = digits_recipe(role, models, epochs=2, seed=seed).model_copy(update={"name": name})
        export(build(recipe, folder / "stores" / name, executor=InProcess()), folder / "zoo")
    return folder / "zoo"


DEVELOPMENT = {
    f"{PREFIX}-clean": ("clean", 12, 0),
    f"{PREFIX}-vaccine": ("trojaned", 6, 0),
    f"{PREFIX}-virus-development": ("trojaned", 5, 1),
    f"{PREFIX}-stamped-vaccine": ("stamped", 4, 0),
    f"{PREFIX}-stamped-virus-development": ("stamped", 3, 1),
}


def choose(folder: Path, zoo: Path, prefix: str = PREFIX) -> Path:
    """Compare two cheap candidates, and say where the choice stands."""
    rivals = {"quick": QUICK, "other": {**QUICK, "definition": "log_odds"}}
    candidates.run(folder, zoo=zoo, prefix=prefix, candidates=rivals, repeats=2, workers=1)
    return folder / f"{prefix}.csv"
