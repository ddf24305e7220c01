"""An experiment as a declared thing: its options, what it needs and provides, and the function that finds its result.

A module of this package that assigns an `Experiment` to `EXPERIMENT` is one; nothing else has to be told about it.
From the declaration come its command and help, its place in `onepixel experiment all`, its files below `results/` with
how they were made, what is said about populations that are missing, and its line in the documentation.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from onepixel.detectors.metrics import Estimate
from onepixel.errors import UsageError
from onepixel.experiments.option import ExperimentOptions as ExperimentOptions
from onepixel.experiments.option import Said as Said
from onepixel.experiments.whole import Whole
from onepixel.parallel import in_processes
from onepixel.populations.models import Name, commands_for, require
from onepixel.progress import counted
from onepixel.report.tables import provenance, write_result

Found = TypeVar("Found")
Job = TypeVar("Job")
Outcome = TypeVar("Outcome")
Cells = dict[str, object]
"""A row of a table for machines, by the names of its columns."""


Options = TypeVar("Options", bound=ExperimentOptions)

_one_figure_at_a_time = Lock()
"""Matplotlib may not be used by several threads, and experiments may run side by side."""


@dataclass(frozen=True)
class Laboratory:
    """Where an experiment is made and by what, which moves no result.

    Attributes
    ----------
    zoo : Path
        Where the populations are.
    workers : int, optional
        Processes; one per core unless said.
    progress : bool
        Show a progress bar on standard error.
    ledger : Path
        Where an opening of the final pool is written down.
    command : str
        What repeats the experiment.
    """

    zoo: Path = Path("zoo")
    workers: int | None = None
    progress: bool = False
    ledger: Path = Path("results/openings.csv")
    command: str = ""

    def each(
        self, work: Callable[[Job], Outcome], jobs: Sequence[Job], label: str, unit: str = "detectors"
    ) -> Iterator[Outcome]:
        """Yield the results of `work`, a function of a module, over jobs, in their order."""
        done = in_processes(work, jobs, self.workers)
        return counted(done, label, len(jobs), unit, enabled=self.progress)


@dataclass(frozen=True)
class Result(Generic[Found]):
    """What an experiment found, and how it is written down.

    Attributes
    ----------
    found
        For whoever goes on with it in Python.
    name : str
        Of its files.
    head, rows : sequence
        The table for machines.
    text : str
        The page for people, without how it was made.
    page : str, optional
        The page's file, NAME.md unless said.
    figures : mapping of str to callable
        By the name of their file: what draws one there.
    missing : sequence of str
        Populations that it would have shown too.
    said : sequence of str
        What the command says besides where the files are.
    """

    found: Found
    name: str
    head: Sequence[str]
    rows: Sequence[Sequence[object]]
    text: str
    page: str | None = None
    figures: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)
    missing: Sequence[Name] = ()
    said: Sequence[str] = ()

    @classmethod
    def of(cls, found: Found, name: str, records: Iterable[Cells], text: str, **more: Any) -> "Result[Found]":
        """The result whose rows for machines are these records, all with the same columns; see `cell`."""
        rows = list(records)
        head = list(rows[0]) if rows else []
        return cls(found, name, head, [[cell(row[column]) for column in head] for row in rows], text, **more)


def interval(name: str, found: Estimate | None) -> Cells:
    """An estimate as three columns: NAME, NAME_low and NAME_high; empty where there is none."""
    low, high = (None, None) if found is None else (found.low, found.high)
    return {name: found, f"{name}_low": low, f"{name}_high": high}


def columns(found: object, *names: str) -> Cells:
    """Some of what was found, each in a column of its name."""
    return {name: getattr(found, name) for name in names}


def cell(value: object) -> object:
    """A value for machines: numbers and estimates to four digits, yes or no, and empty where there is nothing."""
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    number = value.value if isinstance(value, Estimate) else value
    return f"{number:.4f}" if isinstance(number, float) else number


def nothing(about: Any) -> list[Any]:
    """What an experiment needs, or is in `all`, that says nothing of it."""
    return []


@dataclass(frozen=True)
class Experiment(Generic[Options, Found]):
    """A table or a figure.

    Attributes
    ----------
    name : str
        Its command.
    summary : str
        One sentence that says what it answers; name and summary are written as plain text in the declaration, so that
        the list of experiments needs to import none.
    options : type
        A subclass of `ExperimentOptions`.
    find : callable
        From options and laboratory to the result.
    paper : str
        The table, figure or section that it repeats.
    needs : callable
        From options to the names of the populations without which there is no result.
    plan : callable
        From the `Whole` that is repeated by `all` to the options of each repetition; none unless given.
    provides : tuple of str
        What later experiments take from it: "choice", "fits".
    after : mapping of str to tuple of str
        Experiments that end before this one begins, if both are in `all` and the options named here agree.
    reads_zoo, workers : bool
        Whether it has these options.
    folder : str
        Where its files are in `results/`; its name unless given.
    records : str
        The option that names where it reads what was measured before, if it reads such records alone: then it needs
        neither zoo nor workers, and is in `all` where there are records.
    """

    name: str
    summary: str
    options: type[Options]
    find: Callable[[Options, Laboratory], Result[Found]]
    paper: str = ""
    needs: Callable[[Options], Sequence[Name]] = nothing
    plan: Callable[[Whole], Iterable[Options]] = nothing
    provides: tuple[str, ...] = ()
    after: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reads_zoo: bool = True
    workers: bool = True
    folder: str = ""
    records: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", self.folder or self.name)
        if self.records:
            object.__setattr__(self, "reads_zoo", False)
            object.__setattr__(self, "workers", False)
            object.__setattr__(self, "plan", self._plan_of_records)

    def _plan_of_records(self, whole: Whole) -> list[Options]:
        """Once, where there are records."""
        usual = self.options()
        return [usual] if getattr(usual, self.records).exists() else []

    def checked(self, **said: Any) -> Options:
        """Options, each checked.

        Raises
        ------
        UsageError
            If one is unknown or out of range; the first fault is named.
        """
        try:
            return self.options(**said)
        except ValidationError as error:
            first = error.errors()[0]
            place = str(first["loc"][0]) if first["loc"] else "options"
            reason = first["msg"].removeprefix("Value error, ").rstrip(".")
            raise UsageError(f"Experiment {self.name}, {place}: {reason}.") from error

    def command(self, options: Options, laboratory: Laboratory) -> str:
        """What repeats the experiment, as words of a command line."""
        words = ["onepixel experiment", self.name, *options.words()]
        if self.reads_zoo and laboratory.zoo != Laboratory.zoo:
            words.append(f"--zoo {laboratory.zoo}")
        return " ".join(words)

    def perform(self, options: Options, output: Path, laboratory: Laboratory) -> Result[Found]:
        """Find the result and write it below `output`, a folder that is made where it does not exist.

        Raises
        ------
        UsageError
            If a population is missing; it says which, and how to make it. Nothing is written then.
        """
        started = time.perf_counter()
        command = self.command(options, laboratory)
        require(laboratory.zoo, list(self.needs(options)))
        result = self.find(options, replace(laboratory, command=command))
        made = provenance(command, time.perf_counter() - started)
        absent = not_measured(result.missing, laboratory.zoo)
        write_result(output, result.name, result.head, result.rows, result.text + absent, made, page=result.page)
        with _one_figure_at_a_time:
            for name, draw in result.figures.items():
                draw(output / name)
        return result

    def run(
        self,
        output: Path,
        *,
        zoo: Path = Laboratory.zoo,
        workers: int | None = None,
        progress: bool = False,
        ledger: Path = Laboratory.ledger,
        **said: Any,
    ) -> Found:
        """Check the options, `perform` the experiment, and return what it found."""
        return self.perform(self.checked(**said), output, Laboratory(zoo, workers, progress, ledger)).found


def not_measured(names: Sequence[Name], zoo: Path) -> str:
    """The part of a page that lists missing populations with what makes them; empty if none is."""
    if not names:
        return ""
    listed = "\n".join(f"- {name}: `{' && '.join(commands_for(zoo, name))}`" for name in names)
    return f"\n## Not measured\n\nThese populations were not in the zoo.\n\n{listed}\n"
