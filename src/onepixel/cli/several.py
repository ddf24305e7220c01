"""Many models in one audit: files, the models of a folder, or a manifest with settings for each.

Every outcome is kept as soon as it is there, so that the same command continues a run that was interrupted.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from onepixel.cli.manifest import manifest
from onepixel.cli.results import Judge, coloured, judged
from onepixel.cli.task import Task
from onepixel.errors import UsageError
from onepixel.findings import Outcome
from onepixel.findings.outcome import digest_of
from onepixel.opening.folders import is_one_model, models_in
from onepixel.printable import escaped
from onepixel.version import __version__

if TYPE_CHECKING:
    from onepixel.detectors.verdict import Verdict

LONGEST_NAME = 100


def several(task: Task, more: Sequence[str]) -> list[Task] | None:
    """The models that a command names if they are many, None for a single one.

    Raises
    ------
    UsageError
        If a manifest makes no sense or names a file outside its folder.
    """
    named = [task.model, *more]
    if len(named) == 1 and not is_many(named[0]):
        return None
    found: list[Task] = []
    for name in named:
        path = Path(name)
        if is_manifest(name):
            found += manifest(path, task)
        elif is_many(name):
            found += [with_model(task, str(model)) for model in models_in(path)]
        else:
            found.append(with_model(task, name))
    return found


def with_model(task: Task, model: str) -> Task:
    """The same, asked about another model."""
    return replace(task, opening=replace(task.opening, model=model))


def is_manifest(name: str) -> bool:
    """Whether a name is that of a manifest."""
    return "://" not in name and name.endswith(".toml") and Path(name).is_file()


def is_many(name: str) -> bool:
    """Whether a name stands for many models: a manifest, or a folder of models that is no model itself."""
    if "://" in name:
        return False
    path = Path(name)
    if path.is_dir():
        found = [] if is_one_model(path) else models_in(path)
        return len(found) > 1 or any(model.is_dir() for model in found)
    return is_manifest(name)


def audit_all(
    tasks: Sequence[Task], judge: Judge, *, quiet: bool, report: Path | None = None, picture: Path | None = None
) -> list[Outcome]:
    """Judge one model after the other; a model that cannot be judged does not stop the others.

    Parameters
    ----------
    tasks : sequence of Task
    judge : callable
        From a task to its verdict.
    quiet : bool
        Do not say which model it is about.
    report, picture : Path, optional
        Folders that a report, and a picture, of every model goes to.
    """
    from onepixel.opening.endpoint.settings import journal_folder

    places = [
        (None if report is None else report / f"{name}.html", None if picture is None else picture / f"{name}.png")
        for name in file_names(task.model for task in tasks)
    ]
    run = hashlib.sha256(f"{__version__} {tasks}".encode("utf-8", "surrogateescape")).hexdigest()
    kept = journal_folder() / f"audits-{run[:24]}.jsonl"
    done = read_kept(kept)
    outcomes = []
    for number, (task, files) in enumerate(zip(tasks, places, strict=True), 1):
        key = key_of(task)
        outcome = done.get(key)
        written = all(file is None or file.exists() for file in files)
        if outcome is None or (outcome.verdict is not None and not written):
            if not quiet:
                typer.echo(f"{number} of {len(tasks)}: {escaped(task.model)}", err=True)
            outcome, verdict = judged(judge, task)
            if not isinstance(verdict, Exception):
                draw(verdict, *files)
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "outcome": asdict(outcome)}) + "\n")
        outcomes.append(outcome)
    kept.unlink(missing_ok=True)
    return outcomes


def draw(verdict: "Verdict", report: Path | None, picture: Path | None) -> None:
    """Write the report and the picture that were asked for."""
    if report is not None:
        verdict.report(report)
    if picture is not None:
        verdict.picture(picture)


def made_folder(path: Path | None) -> Path | None:
    """The folder that reports or pictures of several models go to; it is made if need be.

    Raises
    ------
    UsageError
        If it cannot be made.
    """
    if path is not None:
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"Of several models, --report and --picture name folders; {escaped(path)} is none and cannot be made."
            ) from error
    return path


def file_names(models: Iterable[str]) -> Iterator[str]:
    """A file's name for each model: its own, without what a name cannot have, and with a number where two are alike."""
    used: set[str] = set()
    for model in models:
        own = model.rstrip("/").rpartition("/")[2]
        name = "".join(letter if letter.isalnum() or letter in "-_. " else "_" for letter in own)[:LONGEST_NAME]
        first = name.lstrip(". ") or "model"
        name = next(name for name in chain([first], (f"{first}-{n}" for n in count(2))) if name not in used)
        used.add(name)
        yield name


def key_of(task: Task) -> str:
    """What an outcome belongs to: the model's content, how it is opened, and by what it is judged."""
    read = [content_of(name) for name in (task.model, task.asking.images, task.asking.detector) if name is not None]
    return hashlib.sha256(f"{read} {task}".encode("utf-8", "surrogateescape")).hexdigest()


def content_of(name: str) -> str:
    """What a file's or folder's content is told apart by; "" for what is neither."""
    if "://" in name:
        return ""
    path = Path(name)
    if not path.is_dir():
        return digest_of(path) or ""
    files = []
    for file in sorted(path.rglob("*")):
        with suppress(OSError):
            about = file.stat()
            files.append(f"{file.relative_to(path)} {about.st_size} {about.st_mtime_ns}")
    return hashlib.sha256("\n".join(files).encode("utf-8", "surrogateescape")).hexdigest()


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
    width = max((len(outcome.name) for outcome in outcomes), default=0)
    lines = []
    for outcome in outcomes:
        verdict = outcome.verdict
        decision = coloured(f"{outcome.decision:<26}", outcome.decision)
        if verdict is None:
            lines.append(f"{outcome.name:<{width}}  {decision}  {outcome.reason}")
            continue
        lines.append(
            f"{outcome.name:<{width}}  {decision}  score {verdict['score']:.4g}, p {told(verdict['p_value'])}, "
            f"probability {told(verdict['probability'])}, class {verdict['target_class']}"
        )
    trojaned, undecided = sum(o.trojaned for o in outcomes), sum(o.verdict is None for o in outcomes)
    lines.append(f"{len(outcomes)} models: {trojaned} trojaned, {undecided} without a verdict")
    return "\n".join(lines)


def told(number: float | None) -> str:
    """A number, or a dash where there is none."""
    return "-" if number is None else f"{number:.3g}"
