"""The populations that results were made from: a few templates and one table, `recipes.toml`, inside the package."""

import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from onepixel.errors import UsageError
from onepixel.populations.names import PopulationName
from onepixel.populations.recipe import Recipe


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(files("onepixel.populations").joinpath("recipes.toml").read_text(encoding="utf-8"))


def known_populations() -> list[str]:
    """Names of every population in the table, those that are signed again left out."""
    return list(_table()["populations"])


def known_recipe(name: str) -> Recipe:
    """The recipe of a population in the table, or of one whose networks are, signed from another start.

    Raises
    ------
    UsageError
        If the table has no such population.
    """
    rows = _table()["populations"]
    if name in rows:
        return Recipe.model_validate({"name": name} | _filled(rows[name]))
    population = PopulationName.parse(name)
    if population.networks not in rows or population.start.image == "black":
        raise UsageError(f"There is no recipe of {name}; `onepixel population recipe --list` names those that are.")
    return population.signed(known_recipe(population.networks))


def recipe_of(words: str) -> Recipe:
    """The recipe in a file, or the one of that name.

    Raises
    ------
    UsageError
        If there is neither.
    """
    return Recipe.load(words) if Path(words).is_file() or words.endswith(".toml") else known_recipe(words)


def _filled(row: dict[str, Any]) -> dict[str, Any]:
    """A row laid over its template; another kind of trigger takes nothing from the template's."""
    template = dict(_table()["templates"][row["like"]])
    if "kind" in row.get("trigger", {}):
        template.pop("trigger", None)
    said = {key: value for key, value in row.items() if key != "like"}
    return template | {
        key: template.get(key, {}) | value if isinstance(value, dict) else value for key, value in said.items()
    }
