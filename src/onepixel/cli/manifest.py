"""A manifest: a TOML file that names many models, with settings for each.

It may have come with the models, from a stranger: it names files of its own folder only, no code, no file to write to,
and it cannot take away a sandbox that the command line asks for.
"""

import tomllib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from onepixel.cli.options import Opening
from onepixel.cli.task import Asking, Task
from onepixel.errors import UsageError
from onepixel.printable import escaped

NOT_HERE = {"model", "journal"}
"""Settings of a command that no manifest has."""

KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("sandbox", "require_sandbox", "resize"), (bool,)),
    **dict.fromkeys(("batch_size", "concurrency", "budget"), (int,)),
    **dict.fromkeys(("timeout", "patience", "prior"), (int, float)),
}
"""What a setting's value has to be; a text where nothing is said."""

LISTS = {"input_shape", "pixel_range"}
"""Settings that may be lists of numbers as well."""

FILES = {"images", "detector"}
"""Settings that name files, which lie in the manifest's folder."""


def manifest(path: Path, usual: Task) -> list[Task]:
    """The models of a manifest: `[defaults]` and one `[[model]]` table each, with `path` and the options of a command.

    Parameters
    ----------
    path : Path
    usual : Task
        What the command line said; a manifest's settings go before it.

    Raises
    ------
    UsageError
        If it is no such file, has an unknown setting, names code, or a file outside its folder.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{escaped(path)} is no manifest: {error}.") from error
    tables, defaults = content.pop("model", []), content.pop("defaults", {})
    if content or not isinstance(tables, list) or not tables or not isinstance(defaults, dict):
        raise UsageError(f"{escaped(path)} is no manifest: expected [[model]] tables and, if need be, [defaults].")
    return [entry(path, {**defaults, **table}, usual) for table in tables]


def entry(path: Path, table: dict[str, Any], usual: Task) -> Task:
    """One model of a manifest."""
    name = table.pop("path", None)
    if not isinstance(name, str) or not name:
        raise UsageError(f"{escaped(path)}: every [[model]] needs a path.")
    opens, asks = ({field.name for field in fields(one)} - NOT_HERE for one in (Opening, Asking))
    said = {key: checked(path, key, value, sorted(opens | asks)) for key, value in table.items()}
    for key in FILES & said.keys():
        if key != "detector" or Path(said[key]).name != said[key] or (path.parent / said[key]).exists():
            said[key] = inside(path, said[key])
    for key in ("sandbox", "require_sandbox"):
        said[key] = bool(said.get(key)) or getattr(usual.opening, key)
    opening = {key: value for key, value in said.items() if key in opens}
    asking = {key: value for key, value in said.items() if key in asks}
    return Task(
        replace(usual.opening, model=inside(path, name), **opening),
        replace(usual.asking, **asking),
    )


def checked(path: Path, key: str, value: Any, known: list[str]) -> Any:
    """A setting's value, as the command line would have it.

    Raises
    ------
    UsageError
        If there is no such setting, it cannot be of that value, or it names code.
    """
    if key not in known:
        raise UsageError(f"{escaped(path)}: there is no setting {escaped(key)}; known are {', '.join(known)}.")
    if key in LISTS and isinstance(value, list) and all(type(each) in (int, float) for each in value):
        value = ",".join(map(str, value))
    if type(value) not in KINDS.get(key, (str,)):
        raise UsageError(f"{escaped(path)}: the setting {key} cannot be {escaped(value)}.")
    if key == "architecture" and ":" in value and not value.startswith("timm:"):
        raise UsageError(
            f"{escaped(path)}: {escaped(value)} is code, which is named with --architecture on the command line only."
        )
    return value


def inside(path: Path, name: str) -> str:
    """A file of a manifest's folder.

    Raises
    ------
    UsageError
        If it lies outside.
    """
    folder = path.resolve().parent
    if "://" in name or not (folder / name).resolve().is_relative_to(folder):
        raise UsageError(f"{escaped(path)}: {escaped(name)} lies outside the manifest's folder, which is not read.")
    return str(path.parent / name)
