"""The populations that results were made from: a few templates and one table, `recipes.toml`, inside the package."""

import tomllib
from functools import cache, reduce
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

from onepixel.errors import UsageError
from onepixel.populations.names import PopulationName
from onepixel.populations.recipe import Recipe


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(files("onepixel.populations").joinpath("recipes.toml").read_text(encoding="utf-8"))


@cache
def _rows() -> dict[str, dict[str, Any]]:
    """Every population's settings by its name: a kind's are named after kind, role and pool."""
    table = _table()
    kinds = {}
    for kind, said in table["kinds"].items():
        own = {key: value for key, value in said.items() if key != "roles"}
        for role, pool in product(table["roles"], table["pools"]):
            layers = (table["roles"][role], own, said["roles"].get(role, {}), table["pools"][pool])
            kinds[f"{kind}-{role}-{pool}"] = _filled(reduce(_laid_over, layers))
    return {name: _filled(row) for name, row in table["populations"].items()} | kinds


def known_populations() -> list[str]:
    """Names of every population in the table, those that are signed again left out."""
    return list(_rows())


def known_recipe(name: str) -> Recipe:
    """The recipe of a population in the table, or of one whose networks are, signed from another start.

    Raises
    ------
    UsageError
        If the table has no such population.
    """
    rows = _rows()
    if name in rows:
        return Recipe.model_validate({"name": name} | rows[name])
    population = PopulationName.parse(name)
    if population.networks not in rows or population.start.image == "black":
        raise UsageError(f"There is no recipe of {name}; `onepixel population recipe --list` names those that are.")
    return population.signed(known_recipe(population.networks))


@cache
def _by_digest() -> dict[str, str]:
    return {known_recipe(name).digest(): name for name in known_populations()}


def known_name(recipe: Recipe) -> str:
    """What the table calls the population of a recipe; the recipe's own name where the table has no such networks."""
    own = PopulationName.parse(recipe.name).networks
    if own in _rows() and known_recipe(own).digest() == recipe.digest():
        return recipe.name
    return _by_digest().get(recipe.digest(), recipe.name)


def recipe_of(words: str) -> Recipe:
    """The recipe in a file, or the one of that name.

    Raises
    ------
    UsageError
        If there is neither.
    """
    return Recipe.load(words) if Path(words).is_file() or words.endswith(".toml") else known_recipe(words)


def _filled(row: dict[str, Any]) -> dict[str, Any]:
    """A row laid over its template, and that over its own."""
    said = {key: value for key, value in row.items() if key != "like"}
    return _laid_over(_filled(_table()["templates"][row["like"]]), said) if "like" in row else said


def _laid_over(below: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """A row over another, table by table; another kind of trigger takes nothing from what is below."""
    below = {key: value for key, value in below.items() if key != "trigger" or "kind" not in row.get("trigger", {})}
    merged = {key: below.get(key, {}) | value if isinstance(value, dict) else value for key, value in row.items()}
    return below | merged
