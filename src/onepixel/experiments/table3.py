"""ECCV Table 3 and ICLR Table 2: detectors on architectures that they never saw.

Trained on one architecture, on all but one, or on all of them; tested on each, on clean models that did not train and
on development viruses. Where a detector is trained on several architectures and tested on one that was left out,
candidates are compared by leaving out each of those that it is trained on in turn: no virus, and nothing of the
architecture that is to be tested, has a say in which is chosen, or in its threshold. Rows whose populations are missing
are left out and named.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from onepixel.detectors.metrics import fast_auroc
from onepixel.errors import UsageError
from onepixel.experiments.candidates import ACROSS, LITERAL
from onepixel.experiments.choices import Parameters, read_choice
from onepixel.experiments.declared import Experiment, Laboratory, Result, Said
from onepixel.experiments.judging import RATES, Job, Judged, judge, rates
from onepixel.experiments.models import (
    SIGNED,
    Models,
    Training,
    Unseen,
    has,
    load_models,
    load_training,
    load_unseen,
    missing,
)
from onepixel.experiments.options import Chosen, Seeded, Seeds, Signed
from onepixel.experiments.results import markdown_table
from onepixel.experiments.whole import Whole

ARCHITECTURES = ("lenet5", "resnet8", "vgg10", "alexnet")
"""Those of the papers; ECCV has the first three, ICLR all."""

OWN_CLEAN = 10
"""How many clean models of the architecture that was left out set the threshold where an auditor has as many."""

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
    by_architecture: bool = False

    @property
    def left_out(self) -> bool:
        """Whether the detector never saw the architecture that it is tested on."""
        return self.tested_on not in self.trained_on

    @property
    def area(self) -> float:
        """Area under the curve of the held-out scores of all training models: one threshold must serve them all."""
        return fast_auroc(self.judged.held_out_clean, self.judged.held_out_vaccine)


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
        return Sides(replace(self.training, clean=clean), replace(self.unseen, clean=clean))


def populations(dataset: str, architecture: str, ending: str = "") -> list[str]:
    """What one architecture needs."""
    return [f"{dataset}-{architecture}-{kind}{ending}" for kind in ("clean", "vaccine", "virus-development")]


def there(zoo: Path, dataset: str, architectures: Sequence[str] = ARCHITECTURES[:3], ending: str = "") -> list[str]:
    """Those of the architectures that a zoo has all populations of."""
    return [name for name in architectures if all(has(zoo, one) for one in populations(dataset, name, ending))]


def load_sides(
    zoo: Path, dataset: str, architectures: Sequence[str], ending: str = ""
) -> tuple[dict[str, Sides], list[str]]:
    """Read every architecture whose populations are there; what the others lack comes back by name.

    All architectures have equally many vaccine models, the first ones, and all clean models that there are.
    """
    names = there(zoo, dataset, architectures, ending)
    absent = [one for name in architectures for one in populations(dataset, name, ending) if not has(zoo, one)]
    vaccine = min((len(load_models(zoo, f"{dataset}-{name}-vaccine{ending}")[0]) for name in names), default=0)
    found = {}
    for name in names:
        whole = load_training(zoo, f"{dataset}-{name}", ending=ending)
        training = replace(whole, vaccine=whole.vaccine.part(0, vaccine), stamped=None)
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


class Options(Seeded, Chosen, Signed):
    """Options of `onepixel experiment table3`."""

    seeds: Seeds = 3
    dataset: Annotated[str, Field(description="As population names begin.")] = "mnist"
    architectures: Annotated[
        tuple[str, ...],
        Field(description="May be repeated; lenet5, resnet8 and vgg10 unless said."),
        Said(flag="--architecture", metavar="NAME"),
    ] = ARCHITECTURES[:3]
    candidates: Annotated[
        dict[str, Parameters] | None,
        Field(description="What is chosen from for an architecture that was left out; `ACROSS` unless given."),
        Said(hidden=True),
    ] = None

    @property
    def choice_prefix(self) -> str:
        """The networks that the detector was chosen on."""
        return f"{self.dataset}-lenet5"

    @property
    def subject(self) -> str:
        """The data set, and architectures only where they are others than ECCV's."""
        others = "" if self.architectures == ARCHITECTURES[:3] else "-" + "-".join(self.architectures)
        return f"{self.dataset}{others}{self.ending}"


def trials_of(
    names: Sequence[str], methods: dict[str, Parameters], across: dict[str, Parameters], seeds: range
) -> list[Trial]:
    """Every detector on every combination; candidates where there are architectures to choose by."""
    pairs = combinations(names)
    trials = [
        Trial(name, parameters, *pair, number)
        for name, parameters in methods.items()
        for pair in pairs
        for number in seeds
    ]
    return trials + [
        Trial(name, parameters, *pair, number, by_architecture=True)
        for pair in pairs
        if len(pair[0]) > 1 and not set(pair[0]) & set(pair[1])
        for name, parameters in across.items()
        for number in seeds
    ]


def find(options: Options, laboratory: Laboratory) -> Result[list[Row]]:
    """Train and test every combination of architectures."""
    dataset, ending = options.dataset, options.ending
    chosen = read_choice(options.choice, options.choice_prefix)
    found, absent = load_sides(laboratory.zoo, dataset, options.architectures, ending)
    if len(found) < 2:
        raise UsageError(f"Table 3 needs at least two architectures; {missing(laboratory.zoo, absent)}")
    whole = next(iter(LITERAL))
    methods: dict[str, Parameters] = {whole: LITERAL[whole], f"chosen: {chosen.name}": chosen.parameters}
    across = ACROSS if options.candidates is None else options.candidates
    trials = trials_of(list(found), methods, across, range(options.seed, options.seed + options.seeds))
    rows = []
    judgements = laboratory.each(judge, [job_of(found, trial) for trial in trials], "Table 3")
    for trial, judged in zip(trials, judgements, strict=True):
        parts = by_architecture(judged, sides_for(found, trial.trained_on, trial.tested_on), trial.tested_on)
        rows += [
            Row(trial.name, trial.trained_on, name, trial.seed, part, trial.by_architecture)
            for name, part in parts.items()
        ]
    text = as_markdown(rows, found, dataset, ending)
    return Result(rows, options.subject, CSV_HEAD, [csv_line(row) for row in rows], text, missing=absent)


def plan(whole: Whole) -> Iterator[Options]:
    """From every start that two architectures were signed from."""
    compared = [ending for ending in SIGNED if len(there(whole.zoo, "mnist", ending=ending)) > 1]
    for ending in compared or [""]:
        choice = whole.choice("mnist-lenet5")
        yield Options(default_image=SIGNED[ending], choice=choice, seeds=whole.effort.seeds)


EXPERIMENT = Experiment(
    "table3",
    "Detectors on architectures that they never saw (ECCV Table 3, ICLR Table 2).",
    Options,
    find,
    paper="ECCV Table 3; ICLR Table 2",
    plan=plan,
    after={"detectors": ()},
)


def sides_for(found: dict[str, Sides], trained_on: tuple[str, ...], tested_on: tuple[str, ...]) -> dict[str, Sides]:
    """The models to use: all clean ones on both sides where none of them can be on both."""
    if set(trained_on) & set(tested_on):
        return found
    return {name: sides.all_clean() for name, sides in found.items()}


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
        name: replace(judged, clean=one, virus=other) for name, one, other in zip(tested_on, clean, virus, strict=True)
    }


CSV_HEAD = [
    "method",
    "threshold",
    "trained_on",
    "tested_on",
    "seed",
    "detection_rate",
    "auroc",
    "false_positive_rate",
    "held_out_auroc",
]


def csv_line(row: Row) -> list[object]:
    """One row for machines."""
    result = row.judged.evaluation()
    numbers = (result.detection_rate, result.auroc, result.false_positive_rate)
    threshold = "architectures" if row.by_architecture else "random folds"
    line = [row.method, threshold, " ".join(row.trained_on), row.tested_on, row.seed]
    return [*line, *(f"{estimate.value:.4f}" for estimate in numbers), f"{row.area:.4f}"]


def grouped(rows: Sequence[Row]) -> dict[tuple[str, tuple[str, ...], str], list[Row]]:
    """Rows that differ in nothing but their seed together, in their order."""
    groups: dict[tuple[str, tuple[str, ...], str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.method, row.trained_on, row.tested_on), []).append(row)
    return groups


def mean_area(group: Sequence[Row]) -> float:
    """Mean `Row.area` over seeds, by which a candidate is chosen."""
    return float(np.mean([row.area for row in group]))


def calibrated_rate(group: Sequence[Row]) -> str:
    """Mean detection rate and false alarms at a threshold from `OWN_CLEAN` clean models of the tested architecture."""
    found = [result for row in group if (result := row.judged.calibrated(OWN_CLEAN)) is not None]
    if not found:
        return "-"
    rate = np.mean([result.detection_rate.value for result in found])
    alarms = np.mean([result.false_positive_rate.value for result in found])
    return f"{rate:.1%} ({alarms:.0%})"


def paper_rate(dataset: str, row: Row) -> str:
    """The paper's detection rate, where it tells one."""
    known = dataset == "mnist" and row.left_out and len(row.trained_on) > 1 and row.tested_on in PAPER
    return f"{PAPER[row.tested_on]:.1f} %" if known else "-"


def candidates_section(rows: Sequence[Row], dataset: str) -> str:
    """Every candidate on every architecture that was left out; empty where there was none to choose by."""
    by_test: dict[str, list[list[Row]]] = {}
    for (_, _, tested_on), group in grouped(rows).items():
        by_test.setdefault(tested_on, []).append(group)
    lines = []
    for tested_on, groups in by_test.items():
        chosen, *_ = ranked = sorted(groups, key=mean_area, reverse=True)
        for group in ranked:
            name = f"**{group[0].method}**" if group is chosen else group[0].method
            judged = rates([row.judged.evaluation() for row in group])
            area = f"{mean_area(group):.3f}"
            lines.append([tested_on, name, area, *judged, calibrated_rate(group), paper_rate(dataset, group[0])])
    if not lines:
        return ""
    head = ["left out", "detector", "AUROC, vaccine side", *RATES, f"with {OWN_CLEAN} clean ones", "paper"]
    return f"""## Left out, and judged by what the others teach about each other

Trained on all of the other architectures. On them, the vaccine side, a detector was fitted to all architectures but one
and scored the models of that one, each in turn; area under the curve of all of these scores together, and the threshold
that is best on them. The detector with the best area, in bold, is chosen: no virus, and nothing of the architecture
that was left out, was looked at. Whoever takes the best row by what it says of viruses instead has chosen by viruses.
"With {OWN_CLEAN} clean ones": detection rate, and false alarms, where the threshold is the highest score of {OWN_CLEAN}
clean models of the architecture that was left out, which an auditor can train without any trigger; they test nothing.

{markdown_table(head, lines)}

"""


def as_markdown(rows: list[Row], found: dict[str, Sides], dataset: str, ending: str) -> str:
    """The table for people: architectures left out first."""
    halves: dict[bool, list[list[str]]] = {True: [], False: []}
    usual = [row for row in rows if not row.by_architecture]
    for (method, trained_on, tested_on), group in grouped(usual).items():
        line = [method, " + ".join(trained_on), tested_on, *rates([row.judged.evaluation() for row in group])]
        out = group[0].left_out
        halves[out].append([*line, calibrated_rate(group), paper_rate(dataset, group[0])] if out else line)
    head = ["detector", "trained on", "tested on", *RATES]
    counts = "; ".join(
        f"{name}: {len(s.training.clean) + len(s.training.spare)} clean, {len(s.training.vaccine)} vaccine, "
        f"{len(s.unseen.virus)} virus"
        for name, s in found.items()
    )
    candidates = candidates_section([row for row in rows if row.by_architecture], dataset)
    return f"""# Table 3, {dataset}, signatures from {SIGNED[ending]}: architectures that a detector never saw

{counts} models (development pool; the final pool was not opened).
A detector that is tested on architectures it never saw is trained on all clean models of its own and tested on all of
the others'; one that is tested on its own architectures is trained on half of the clean models and tested on the other
half. No stamped models. Detection rate is balanced accuracy; means over {len({row.seed for row in rows})} detector
seed(s), ± their standard deviation; intervals are the first seed's. The paper's numbers are of a detector trained on
the two other architectures.

{candidates}## Left out, with the usual threshold

The threshold is fixed by cross-validation with random folds of the training models, so that every architecture of
theirs is in every fold. "chosen: ..." was chosen on LeNet-5 networks, of which some may be tested here.

{markdown_table([*head, f"with {OWN_CLEAN} clean ones", "paper"], halves[True])}

## Tested on an architecture that was trained on

{markdown_table(head, halves[False])}
"""
