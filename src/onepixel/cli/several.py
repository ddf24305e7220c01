"""Many models in one audit: files, the files of a folder, or a manifest with settings for each.

Every outcome is kept as soon as it is there, so that the same command continues a run that was interrupted.
"""

import hashlib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import typer

from onepixel.cli.options import Opening
from onepixel.cli.results import Judge, coloured, judged
from onepixel.errors import UsageError
from onepixel.findings import Outcome
from onepixel.findings.outcome import digest_of
from onepixel.printable import escaped
from onepixel.version import __version__

ENDINGS = {".onnx", ".safetensors", ".pth", ".pt", ".pt2", ".th", ".ckpt", ".skops", ".h5", ".keras", ".tflite", ".gz"}
"""How the names of model files end, in a folder that holds other things too."""

SIGNS_OF_ONE_MODEL = ("config.json", "MLmodel", "model.safetensors.index.json", "saved_model.pb", "clean-example-data")
"""What a folder holds that is a single model itself."""


def several(opening: Opening, more: Sequence[str]) -> list[Opening] | None:
    """The models that a command names if they are many, None for a single one.

    Raises
    ------
    UsageError
        If a manifest makes no sense or names a file outside its folder.
    """
    named = [opening.model, *more]
    if len(named) == 1 and not is_many(named[0]):
        return None
    found: list[Opening] = []
    for name in named:
        path = Path(name)
        if "://" not in name and path.suffix == ".toml" and path.is_file():
            found += manifest(path, opening)
        elif "://" not in name and is_many(name):
            found += [replace(opening, model=str(file)) for file in model_files(path)]
        else:
            found.append(replace(opening, model=name))
    return found


def is_many(name: str) -> bool:
    """Whether a name stands for many models: a manifest, or a folder of model files that is no model itself."""
    if "://" in name:
        return False
    path = Path(name)
    if path.is_dir():
        return not any((path / sign).exists() for sign in SIGNS_OF_ONE_MODEL) and len(model_files(path)) > 1
    return path.suffix == ".toml" and path.is_file()


def model_files(folder: Path) -> list[Path]:
    """The model files of a folder, in order of their names; hidden ones are left out."""
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in ENDINGS and not file.name.startswith(".") and file.is_file()
    )


def manifest(path: Path, usual: Opening) -> list[Opening]:
    """The models of a manifest: `[defaults]` and one `[[model]]` table each, with `path` and the options of a command.

    Raises
    ------
    UsageError
        If it is no such file, has an unknown setting, or names a file outside its folder.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{escaped(path)} is no manifest: {error}.") from error
    tables, defaults = content.pop("model", []), content.pop("defaults", {})
    if content or not isinstance(tables, list) or not tables or not isinstance(defaults, dict):
        raise UsageError(f"{escaped(path)} is no manifest: expected [[model]] tables and, if need be, [defaults].")
    return [entry(path, {**defaults, **table}, usual) for table in tables]


def entry(path: Path, table: dict[str, Any], usual: Opening) -> Opening:
    """One model of a manifest."""
    name = table.pop("path", None)
    if not isinstance(name, str) or not name:
        raise UsageError(f"{escaped(path)}: every [[model]] needs a path.")
    kinds = {field.name: type(getattr(usual, field.name)) for field in fields(usual) if field.name != "model"}
    for key, value in table.items():
        if key not in kinds:
            raise UsageError(f"{escaped(path)}: there is no setting {escaped(key)}; known are {', '.join(kinds)}.")
        if not isinstance(value, (str, kinds[key], int)):
            raise UsageError(f"{escaped(path)}: the setting {key} cannot be {escaped(value)}.")
    folder = path.resolve().parent
    file = (folder / name).resolve()
    if "://" in name or not file.is_relative_to(folder):
        raise UsageError(f"{escaped(path)}: {escaped(name)} lies outside the manifest's folder, which is not read.")
    return replace(usual, model=str(path.parent / name), **table)


def audit_all(models: Sequence[Opening], judge: Judge, asked: str, *, quiet: bool) -> list[Outcome]:
    """Judge one model after the other; a model that cannot be judged does not stop the others."""
    from onepixel.opening.endpoint.settings import journal_folder

    kept = journal_folder() / f"audits-{hashlib.sha256(f'{__version__} {asked}'.encode()).hexdigest()[:24]}.jsonl"
    done = read_kept(kept)
    outcomes = []
    for number, opening in enumerate(models, 1):
        key = key_of(opening)
        if key in done:
            outcome = done[key]
        else:
            if not quiet:
                typer.echo(f"{number} of {len(models)}: {escaped(opening.model)}", err=True)
            outcome, _ = judged(judge, opening)
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "outcome": asdict(outcome)}) + "\n")
        outcomes.append(outcome)
    kept.unlink(missing_ok=True)
    return outcomes


def key_of(opening: Opening) -> str:
    """What an outcome belongs to: the file's content and how it is opened."""
    digest = None if "://" in opening.model else digest_of(Path(opening.model))
    return hashlib.sha256(f"{digest} {opening}".encode("utf-8", "surrogateescape")).hexdigest()


def read_kept(path: Path) -> dict[str, Outcome]:
    """Outcomes of an interrupted run; a line that was cut off counts as not there."""
    found: dict[str, Outcome] = {}
    if not path.is_file():
        return found
    for line in path.read_text("utf-8").splitlines():
        try:
            record = json.loads(line)
            found[record["key"]] = Outcome(**record["outcome"])
        except (ValueError, KeyError, TypeError):
            continue
    return found


def worst(outcomes: Sequence[Outcome]) -> int:
    """One exit status for all."""
    from onepixel.findings.documents import severity

    return max((outcome.exit_status for outcome in outcomes), key=severity, default=0)


def summary(outcomes: Sequence[Outcome]) -> str:
    """A table for a terminal: one line per model, and a last one with the counts."""
    width = max(len(outcome.name) for outcome in outcomes)
    lines = []
    for outcome in outcomes:
        verdict = outcome.verdict
        decision = coloured(f"{outcome.decision:<26}", outcome.decision)
        if verdict is None:
            lines.append(f"{outcome.name:<{width}}  {decision}  {outcome.reason}")
            continue
        chance = "-" if verdict["p_value"] is None else f"{verdict['p_value']:.3g}"
        lines.append(
            f"{outcome.name:<{width}}  {decision}  score {verdict['score']:.4g}, p {chance}, "
            f"class {verdict['target_class']}"
        )
    trojaned, undecided = sum(o.trojaned for o in outcomes), sum(o.verdict is None for o in outcomes)
    lines.append(f"{len(outcomes)} models: {trojaned} trojaned, {undecided} without a verdict")
    return "\n".join(lines)


def refuse_pictures(*paths: Path | None) -> None:
    """Reports and pictures are of one model.

    Raises
    ------
    UsageError
        If one is asked for.
    """
    if any(path is not None for path in paths):
        raise UsageError("--report and --picture are of one model; audit it by itself to get them.")
