"""The experiments that there are: every module of this package that declares one, found without importing any."""

import ast
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onepixel import experiments
from onepixel.errors import UsageError
from onepixel.experiments.shallow import shallow

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    from onepixel.experiments.declared import Experiment

DECLARATION = "EXPERIMENT"
"""What a module calls its experiment."""


@dataclass(frozen=True)
class Entry:
    """An experiment that has not been imported.

    Attributes
    ----------
    name, summary, folder : str
    reads_zoo, workers : bool
        As declared.
    module : str
        Where it is declared.
    path : Path
        Its file.
    options_name : str
        What the file calls the class of its options.
    """

    name: str
    summary: str
    module: str
    path: Path
    options_name: str
    folder: str
    reads_zoo: bool = True
    workers: bool = True

    def fields(self) -> "dict[str, FieldInfo]":
        """The options, without importing what computes."""
        options: type[BaseModel] = shallow(self.path, self.options_name)
        return options.model_fields

    def load(self) -> "Experiment[Any, Any]":
        """Import it."""
        found: Experiment[Any, Any] = getattr(importlib.import_module(self.module), DECLARATION)
        return found


def entries() -> dict[str, Entry]:
    """Every experiment by the name of its command, in the order of these names."""
    return {entry.name: entry for entry in _declared(tuple(experiments.__path__))}


def load(name: str) -> "Experiment[Any, Any]":
    """The experiment of that name.

    Raises
    ------
    UsageError
        If there is none.
    """
    known = entries()
    if name not in known:
        raise UsageError(f"Expected one of {', '.join(known)} for an experiment but got {name!r}.")
    return known[name].load()


@cache
def _declared(folders: tuple[str, ...]) -> list[Entry]:
    found: list[Entry] = []
    for module in pkgutil.iter_modules(folders):
        path = _file(module)
        text = path.read_text(encoding="utf-8") if path is not None else ""
        if path is not None and f"\n{DECLARATION}" in text:
            found += _entries_in(path, ast.parse(text), f"{experiments.__name__}.{module.name}")
    return sorted(found, key=lambda entry: entry.name)


def _file(found: pkgutil.ModuleInfo) -> Path | None:
    specification = found.module_finder.find_spec(found.name, None)
    return Path(specification.origin) if specification is not None and specification.origin else None


def _entries_in(path: Path, tree: ast.Module, module: str) -> Iterator[Entry]:
    """What the declaration says in plain text, at the top level of a module."""
    for line in tree.body:
        if (
            isinstance(line, ast.Assign)
            and isinstance(line.value, ast.Call)
            and any(isinstance(target, ast.Name) and target.id == DECLARATION for target in line.targets)
        ):
            name, summary = (ast.literal_eval(argument) for argument in line.value.args[:2])
            said = {word.arg: word.value for word in line.value.keywords}
            plain = {key: ast.literal_eval(said[key]) for key in ("folder", "reads_zoo", "workers") if key in said}
            if "records" in said:
                plain |= {"reads_zoo": False, "workers": False}
            yield Entry(name, summary, module, path, ast.unparse(line.value.args[2]), **{"folder": name} | plain)


def as_markdown() -> str:
    """The list of experiments for the documentation: what each answers, repeats, and reads unless told otherwise."""
    lines = ["| `onepixel experiment` | what it answers | repeats | populations |", "| --- | --- | --- | --- |"]
    for entry in entries().values():
        experiment = entry.load()
        needs = ", ".join(f"`{name}`" for name in experiment.needs(experiment.options())) or "-"
        lines.append(f"| `{entry.name}` | {entry.summary} | {experiment.paper or '-'} | {needs} |")
    return "\n".join(lines) + "\n"
