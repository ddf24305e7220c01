"""ECCV Table 3 and ICLR Table 2: detectors on architectures that they never saw.

Trained on one architecture, on all but one, or on all of them; tested on each, on clean models that did not train and
on development viruses. Rows whose populations are missing are left out and named.
"""

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onepixel.errors import UsageError
from onepixel.experiments.across import ACROSS, Grouped, Reached, compare_across
from onepixel.experiments.candidates import CHOICES, LITERAL, Parameters, choice_options, choice_under
from onepixel.experiments.judging import RATES, Job, Judged, judge, rates
from onepixel.experiments.models import (
    SIGNED,
    Models,
    Training,
    Unseen,
    load_models,
    load_training,
    load_unseen,
    missing,
    side_options,
)
from onepixel.experiments.results import markdown_table, provenance, write_result
from onepixel.parallel import in_processes
from onepixel.progress import counted

ARCHITECTURES = ("lenet5", "resnet8", "vgg10", "alexnet")
"""Those of the papers; ECCV has the first three, ICLR all."""

BY_ARCHITECTURE = "chosen across architectures"
"""The name of the detector that is chosen, and gets its threshold, by leaving out architectures."""

Pair = tuple[tuple[str, ...], tuple[str, ...]]
"""Architectures that are trained on, and those that are tested on."""

PAPER = {"lenet5": 85.2, "resnet8": 76.5, "vgg10": 80.0}
"""ECCV Table 3, MNIST: detection rate in percent on the architecture that was left out."""


@dataclass(frozen=True)
class Trial:
    """One detector: what it trains and is tested on, and whether its threshold comes from leaving architectures out."""

    name: str
    parameters: Parameters
    trained_on: tuple[str, ...]
    tested_on: tuple[str, ...]
    seed: int
    by_architecture: bool = False


@dataclass(frozen=True)
class Row:
    """One line: trained on some architectures, tested on one."""

    method: str
    trained_on: tuple[str, ...]
    tested_on: str
    seed: int
    judged: Judged

    @property
    def left_out(self) -> bool:
        """Whether the detector never saw the architecture that it is tested on."""
        return self.tested_on not in self.trained_on


@dataclass(frozen=True)
class Sides:
    """Training and test models of one architecture.

    A detector that is tested on the architectures it was trained on trains on half of the clean models and is tested
    on the others; one that is tested on others only may train on all, and all clean models of those test it.
    """

    training: Training
    unseen: Unseen

    def all_clean(self) -> "Sides":
        """The same with all clean models on both sides."""
        clean = Models.joined(self.training.clean, self.training.spare)
        training = Training(clean, self.training.vaccine, None, self.training.spare, self.training.settings)
        return Sides(training, Unseen(clean, self.unseen.virus))


def populations(dataset: str, architecture: str, ending: str = "") -> list[str]:
    """What one architecture needs."""
    return [f"{dataset}-{architecture}-{kind}{ending}" for kind in ("clean", "vaccine", "virus-development")]


def there(zoo: Path, dataset: str, architectures: Sequence[str] = ARCHITECTURES[:3], ending: str = "") -> list[str]:
    """Those of the architectures that a zoo has all populations of."""
    return [name for name in architectures if not missing(zoo, populations(dataset, name, ending))]


def load_sides(
    zoo: Path, dataset: str, architectures: Sequence[str], ending: str = ""
) -> tuple[dict[str, Sides], list[str]]:
    """Read every architecture whose populations are there; the rest comes back as sentences that say what is missing.

    All architectures have equally many clean and equally many vaccine models, the first ones: no detector is trained
    on more of one architecture than of another.
    """
    names = there(zoo, dataset, architectures, ending)
    absent = [missing(zoo, populations(dataset, name, ending)) for name in architectures if name not in names]
    clean = min((len(load_models(zoo, f"{dataset}-{name}-clean{ending}")[0]) for name in names), default=0)
    vaccine = min((len(load_models(zoo, f"{dataset}-{name}-vaccine{ending}")[0]) for name in names), default=0)
    found = {}
    for name in names:
        whole = load_training(zoo, f"{dataset}-{name}", clean // 2, ending)
        spare = whole.spare.part(0, clean - clean // 2)
        training = Training(whole.clean, whole.vaccine.part(0, vaccine), None, spare, whole.settings)
        found[name] = Sides(training, load_unseen(zoo, f"{dataset}-{name}", "development", training, ending))
    return found, absent


def joined(sides: Sequence[Sides]) -> Training:
    """The training models of several architectures together.

    Raises
    ------
    UsageError
        If their signatures were made with different settings.
    """
    parts = [side.training for side in sides]
    if len({part.settings for part in parts}) > 1:
        raise UsageError("The architectures' signatures were made with different settings and cannot be joined.")
    return Training(
        Models.joined(*(part.clean for part in parts)),
        Models.joined(*(part.vaccine for part in parts)),
        None,
        Models.joined(*(part.spare for part in parts)),
        parts[0].settings,
    )


def combinations(names: Sequence[str]) -> list[Pair]:
    """What is trained on and tested on: each architecture alone, all but one, and all; others, then the same ones."""
    sizes = dict.fromkeys([1, max(1, len(names) - 1), len(names)])
    chosen = [trained_on for size in sizes for trained_on in itertools.combinations(names, size)]
    others = [(trained_on, tuple(name for name in names if name not in trained_on)) for trained_on in chosen]
    return [*(pair for pair in others if pair[1]), *((trained_on, trained_on) for trained_on in chosen)]


def run(
    output: Path,
    *,
    zoo: Path = Path("zoo"),
    dataset: str = "mnist",
    architectures: Sequence[str] = ARCHITECTURES[:3],
    ending: str = "",
    choice: Path | None = None,
    choices: Path = CHOICES,
    candidates: Mapping[str, Parameters] | None = None,
    seed: int = 0,
    seeds: int = 3,
    workers: int | None = None,
    progress: bool = False,
) -> list[Row]:
    """Train and test every combination and write the table as Markdown and CSV below `output`.

    Parameters
    ----------
    output : Path
        A folder; made where it does not exist.
    zoo : Path
        Where the populations are, `dataset`-`architecture`-clean, -vaccine and -virus-development.
    dataset : str
    architectures : sequence of str
    ending : str
        What populations' names end with where signatures are not made as from black, a key of `SIGNED`.
    choice : Path, optional
        The comparison in which the detector chosen on LeNet-5 stands.
    choices : Path
        Without `choice`: the folder of comparisons; see `choice_under`.
    candidates : mapping of str to dict, optional
        What the detector for unseen architectures is chosen from; `ACROSS` unless given.
    seed, seeds : int
        First detector seed, and how many.
    workers : int, optional
        Processes; one per core unless said.
    progress : bool
        Show a progress bar on standard error.

    Raises
    ------
    UsageError
        If fewer than two architectures have their populations, or the choice is missing.
    """
    started = time.perf_counter()
    chosen = choice_under(ending, f"{dataset}-lenet5", choice, choices)
    found, absent = load_sides(zoo, dataset, architectures, ending)
    if len(found) < 2:
        raise UsageError(f"Table 3 needs at least two architectures; {' '.join(absent)}")
    whole = next(iter(LITERAL))
    pairs = combinations(list(found))
    rivals = ACROSS if candidates is None else candidates
    compared = choose_across(found, pairs, rivals, seed, workers, progress)
    methods: dict[str, Parameters] = {whole: LITERAL[whole], f"chosen: {chosen.name}": chosen.parameters}
    numbers = range(seed, seed + seeds)
    trials = [
        Trial(name, parameters, *pair, number)
        for name, parameters in methods.items()
        for pair in pairs
        for number in numbers
    ]
    trials += [
        Trial(BY_ARCHITECTURE, reached[0].choice.parameters, *pair, number, by_architecture=True)
        for pair, reached in compared.items()
        for number in numbers
    ]
    jobs = [job_of(found, trial) for trial in trials]
    rows = []
    judgements = counted(in_processes(judge, jobs, workers), "Table 3", len(jobs), "detectors", enabled=progress)
    for trial, judged in zip(trials, judgements, strict=True):
        parts = by_architecture(judged, sides_for(found, trial.trained_on, trial.tested_on), trial.tested_on)
        rows += [Row(trial.name, trial.trained_on, name, trial.seed, part) for name, part in parts.items()]
    head = ["method", "trained_on", "tested_on", "seed", "detection_rate", "auroc", "false_positive_rate"]
    options = f"--dataset {dataset}" + "".join(f" --architecture {name}" for name in architectures)
    options += side_options(None, ending) + choice_options(choice, choices)
    command = f"onepixel experiment table3 {options} --seed {seed} --seeds {seeds}"
    made = provenance(command, time.perf_counter() - started)
    text = as_markdown(rows, found, compared, absent, dataset, ending)
    write_result(output, dataset + ending, head, [csv_line(row) for row in rows], text, made)
    return rows


def sides_for(found: dict[str, Sides], trained_on: tuple[str, ...], tested_on: tuple[str, ...]) -> dict[str, Sides]:
    """The models to use: all clean ones on both sides where none of them can be on both."""
    if set(trained_on) & set(tested_on):
        return found
    return {name: sides.all_clean() for name, sides in found.items()}


def choose_across(
    found: dict[str, Sides],
    pairs: Sequence[Pair],
    candidates: Mapping[str, Parameters],
    seed: int,
    workers: int | None,
    progress: bool,
) -> dict[Pair, list[Reached]]:
    """Compare candidates for every pair that leaves an architecture out and trains on several; the best comes first.

    Only what is trained on is looked at: each of its architectures in turn plays the one that was left out.
    """
    wanted = [pair for pair in pairs if len(pair[0]) > 1 and not set(pair[0]) & set(pair[1])]
    several = []
    for pair in wanted:
        sides = [sides_for(found, *pair)[name] for name in pair[0]]
        several.append(Grouped(joined(sides).labelled(with_stamped=False), groups_of(sides)))
    compared = compare_across(several, candidates, seed, workers=workers, progress=progress)
    return dict(zip(wanted, compared, strict=True))


def groups_of(sides: Sequence[Sides]) -> NDArray[np.int64]:
    """The number of each training model's architecture, in the order of `joined(sides).labelled`."""
    clean, vaccine = ([len(getattr(side.training, kind)) for side in sides] for kind in ("clean", "vaccine"))
    return np.repeat(np.tile(np.arange(len(sides)), 2), [*clean, *vaccine])


def job_of(found: dict[str, Sides], trial: Trial) -> Job:
    """One detector to fit, and the test models of every architecture that it is tested on, one after the other."""
    sides = sides_for(found, trial.trained_on, trial.tested_on)
    tests = [sides[architecture].unseen for architecture in trial.tested_on]
    unseen = Unseen(Models.joined(*(test.clean for test in tests)), Models.joined(*(test.virus for test in tests)))
    own = [sides[architecture] for architecture in trial.trained_on]
    groups = groups_of(own) if trial.by_architecture else None
    return Job(trial.name, trial.parameters, joined(own), unseen, with_stamped=False, seed=trial.seed, groups=groups)


def by_architecture(judged: Judged, sides: dict[str, Sides], tested_on: tuple[str, ...]) -> dict[str, Judged]:
    """Take the scores of a job's test models apart again."""
    tests = [sides[architecture].unseen for architecture in tested_on]
    clean = np.split(judged.clean, np.cumsum([len(test.clean) for test in tests])[:-1])
    virus = np.split(judged.virus, np.cumsum([len(test.virus) for test in tests])[:-1])
    return {
        name: Judged(judged.threshold, one, other) for name, one, other in zip(tested_on, clean, virus, strict=True)
    }


def csv_line(row: Row) -> list[object]:
    """One row for machines."""
    result = row.judged.evaluation()
    numbers = (result.detection_rate, result.auroc, result.false_positive_rate)
    trained_on = " ".join(row.trained_on)
    return [row.method, trained_on, row.tested_on, row.seed, *(f"{estimate.value:.4f}" for estimate in numbers)]


def choices_section(compared: dict[Pair, list[Reached]]) -> str:
    """Which detector was chosen for each architecture that was left out; empty where there was none to choose."""
    lines = [
        [" + ".join(tested_on), f"**{one.choice.name}**" if one is reached[0] else one.choice.name, f"{one.area:.3f}"]
        for (_, tested_on), reached in compared.items()
        for one in reached
    ]
    if not lines:
        return ""
    return f"""## {BY_ARCHITECTURE.capitalize()}: which detector

By cross-validation on the vaccine side whose folds are architectures: fitted to clean and vaccine models of all but one
of the architectures that are trained on, and tested on those of that one, each in turn. Mean area under the curve; the
best is chosen. No virus and nothing of the architecture that was left out was looked at. Its threshold comes from the
same cross-validation; that of the other detectors from one whose folds are random.

{markdown_table(["left out", "detector", "AUROC"], lines)}

"""


def as_markdown(
    rows: list[Row],
    found: dict[str, Sides],
    compared: dict[Pair, list[Reached]],
    absent: list[str],
    dataset: str,
    ending: str,
) -> str:
    """The table for people: architectures left out first."""
    groups: dict[tuple[str, tuple[str, ...], str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: not row.left_out):
        groups.setdefault((row.method, row.trained_on, row.tested_on), []).append(row)
    halves: dict[bool, list[list[str]]] = {True: [], False: []}
    for (method, trained_on, tested_on), group in groups.items():
        paper = PAPER.get(tested_on) if dataset == "mnist" and len(trained_on) > 1 else None
        line = [method, " + ".join(trained_on), tested_on, *rates([row.judged.evaluation() for row in group])]
        halves[group[0].left_out].append([*line, f"{paper:.1f} %" if paper and group[0].left_out else "-"])
    head = ["detector", "trained on", "tested on", *RATES, "paper"]
    counts = "; ".join(
        f"{name}: {len(s.training.clean) + len(s.training.spare)} clean, {len(s.training.vaccine)} vaccine, "
        f"{len(s.unseen.virus)} virus"
        for name, s in found.items()
    )
    left = "\n".join(f"- {sentence}" for sentence in absent) or "- nothing"
    return f"""# Table 3, {dataset}, signatures from {SIGNED[ending]}: architectures that a detector never saw

{counts} models (development pool; the final pool was not opened).
A detector that is tested on architectures it never saw is trained on all clean models of its own and tested on all of
the others'; one that is tested on its own architectures is trained on half of the clean models and tested on the other
half. No stamped models. Detection rate is balanced accuracy at the threshold fixed by cross-validation on the training
models; means over {len({row.seed for row in rows})} detector seed(s), ± their standard deviation; intervals are the
first seed's. The paper's numbers are of a detector trained on the two other architectures. "chosen: ..." was chosen on
LeNet-5 networks, of which some may be tested here.

## Tested on an architecture that was left out

{markdown_table(head, halves[True])}

## Tested on an architecture that was trained on

{markdown_table(head, halves[False])}

{choices_section(compared)}## What is missing

{left}
"""
