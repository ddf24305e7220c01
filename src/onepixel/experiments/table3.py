"""ECCV Table 3 and ICLR Table 2: detectors on architectures that they never saw.

Trained on one architecture, on all but one, or on all of them; tested on each, on clean models that did not train and
on development viruses. Where a detector is trained on several architectures and tested on one that was left out,
candidates are compared by leaving out each of those that it is trained on in turn: no virus, and nothing of the
architecture that is to be tested, has a say in which is chosen, or in its threshold. Rows whose populations are missing
are left out and named.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from onepixel.detectors.metrics import fast_auroc
from onepixel.errors import UsageError
from onepixel.experiments.candidates import ACROSS
from onepixel.experiments.choices import Method, Parameters, papers
from onepixel.experiments.declared import Cells, Experiment, Laboratory, Result, Said, columns
from onepixel.experiments.judging import CROSS_ENTROPY, RATES, Job, Judged, grouped, judge_all, rates
from onepixel.experiments.models import Training, Unseen, load_training, load_unseen
from onepixel.experiments.options import Chosen, Seeded, Seeds, Signed
from onepixel.experiments.whole import Whole
from onepixel.populations.models import Models, has, load_models, missing
from onepixel.populations.names import BLACK, STARTS, PopulationName
from onepixel.report.tables import markdown_table

ARCHITECTURES = ("lenet5", "resnet8", "vgg10", "alexnet")
"""Those of the papers; ECCV has the first three, ICLR all."""

OWN_CLEAN = 10
"""How many clean models of the architecture that was left out set the threshold where an auditor has as many."""

Pair = tuple[tuple[str, ...], tuple[str, ...]]
"""Architectures that are trained on, and those that are tested on."""

PAPER = {"lenet5": 85.2, "resnet8": 76.5, "vgg10": 80.0}
"""ECCV Table 3, MNIST: detection rate in percent on the architecture that was left out."""


@dataclass(frozen=True)
class Row:
    """One line: trained on some architectures, tested on one; its threshold may come from leaving architectures out."""

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


def populations(networks: PopulationName, architecture: str) -> list[PopulationName]:
    """What one architecture needs."""
    own = replace(networks, family=architecture)
    return [own.of(kind) for kind in ("clean", "vaccine", "virus-development")]


def there(
    zoo: Path, networks: PopulationName, architectures: Sequence[str] = ARCHITECTURES[:3]
) -> list[PopulationName]:
    """Those of the architectures that a zoo has all populations of."""
    return [replace(networks, family=one) for one in architectures if has(zoo, *populations(networks, one))]


def load_sides(
    zoo: Path, networks: PopulationName, architectures: Sequence[str]
) -> tuple[dict[str, Sides], list[PopulationName]]:
    """Read every architecture whose populations are there; what the others lack comes back by name.

    All architectures have equally many vaccine models, the first ones, and all clean models that there are.
    """
    found = there(zoo, networks, architectures)
    absent = [one for name in architectures for one in populations(networks, name) if not has(zoo, one)]
    vaccine = min((len(load_models(zoo, own.of("vaccine"))[0]) for own in found), default=0)
    sides = {}
    for own in found:
        whole = load_training(zoo, own)
        training = replace(whole, vaccine=whole.vaccine.part(0, vaccine), stamped=None)
        sides[own.family] = Sides(training, load_unseen(zoo, own, "development", training))
    return sides, absent


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


class Across(Seeded, Chosen, Signed):
    """Which data set's networks of several architectures."""

    seeds: Seeds = 3
    dataset: Annotated[str, Field(description="As population names begin.")] = "mnist"

    @property
    def networks(self) -> PopulationName:
        """The networks that the detector was chosen on."""
        return PopulationName(self.dataset, "lenet5", "", start=self.start)

    @property
    def subject(self) -> str:
        """The data set, and what signatures start from."""
        return f"{self.dataset}{self.networks.ending}"


class Options(Across):
    """Options of `onepixel experiment table3`."""

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
    def subject(self) -> str:
        """The data set, and architectures only where they are others than ECCV's."""
        others = "" if self.architectures == ARCHITECTURES[:3] else "-" + "-".join(self.architectures)
        return f"{self.dataset}{others}{self.networks.ending}"


def jobs_for(
    found: dict[str, Sides], methods: Sequence[Method], across: Mapping[str, Parameters], seeds: range
) -> list[Job]:
    """Every detector on every combination; candidates where there are architectures to choose by."""
    pairs = combinations(list(found))
    jobs = [job_of(found, method, *pair, seed) for method in methods for pair in pairs for seed in seeds]
    return jobs + [
        job_of(found, Method(name, parameters), *pair, seed, by_architecture=True)
        for pair in pairs
        if len(pair[0]) > 1 and not set(pair[0]) & set(pair[1])
        for name, parameters in across.items()
        for seed in seeds
    ]


def job_of(
    found: dict[str, Sides],
    method: Method,
    trained_on: tuple[str, ...],
    tested_on: tuple[str, ...],
    seed: int,
    *,
    by_architecture: bool = False,
) -> Job:
    """One detector to fit, and the test models of every architecture that it is tested on.

    All clean models are on both sides where none of them can be on both.
    """
    if not set(trained_on) & set(tested_on):
        found = {name: sides.all_clean() for name, sides in found.items()}
    own = [found[name] for name in trained_on]
    tests: dict[str, Models] = {}
    for name in tested_on:
        unseen = found[name].unseen
        tests |= {f"clean {name}": unseen.clean, f"virus {name}": unseen.virus}
    groups = groups_of(own) if by_architecture else None
    return Job(method, seed, joined(own), tests, (trained_on, tested_on, by_architecture), groups=groups)


def groups_of(sides: Sequence[Sides]) -> NDArray[np.int64]:
    """The number of each training model's architecture, in the order of `joined(sides).labelled`."""
    clean, vaccine = ([len(getattr(side.training, kind)) for side in sides] for kind in ("clean", "vaccine"))
    return np.repeat(np.tile(np.arange(len(sides)), 2), [*clean, *vaccine])


def of_architecture(judged: Judged, name: str) -> Judged:
    """What was said of one architecture's models."""
    return replace(judged, scores={kind: judged.of(f"{kind} {name}") for kind in ("clean", "virus")})


def find(options: Options, laboratory: Laboratory) -> Result[list[Row]]:
    """Train and test every combination of architectures."""
    methods = [*papers(0), options.chosen()]
    found, absent = load_sides(laboratory.zoo, options.networks, options.architectures)
    if len(found) < 2:
        raise UsageError(f"Table 3 needs at least two architectures; {missing(laboratory.zoo, absent)}")
    across = ACROSS if options.candidates is None else options.candidates
    rows = []
    for one in judge_all(jobs_for(found, methods, across, options.numbers), laboratory, "Table 3"):
        trained_on, tested_on, by_architecture = one.job.about
        rows += [
            Row(one.method.name, trained_on, name, one.seed, of_architecture(one.judged, name), by_architecture)
            for name in tested_on
        ]
    return Result.of(rows, options.subject, map(for_machines, rows), as_markdown(rows, found, options), missing=absent)


def plan(whole: Whole) -> Iterator[Options]:
    """From every start that two architectures were signed from."""
    chosen_on = PopulationName("mnist", "lenet5", "")
    signed = [replace(chosen_on, start=start) for start in STARTS.values()]
    compared = [networks for networks in signed if len(there(whole.zoo, networks)) > 1]
    return whole.repeated(Options, compared or [replace(chosen_on, start=BLACK)])


EXPERIMENT = Experiment(
    "table3",
    "Detectors on architectures that they never saw (ECCV Table 3, ICLR Table 2).",
    Options,
    find,
    paper="ECCV Table 3; ICLR Table 2",
    plan=plan,
    after={"detectors": ()},
)


def for_machines(row: Row) -> Cells:
    """One row for machines."""
    result = row.judged.evaluation()
    return {
        "method": row.method,
        "threshold": "architectures" if row.by_architecture else "random folds",
        "trained_on": " ".join(row.trained_on),
        "tested_on": row.tested_on,
        "seed": row.seed,
        **columns(result, "detection_rate", "auroc", "cross_entropy", "false_positive_rate"),
        "held_out_auroc": row.area,
    }


def but_for_seeds(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that differ in nothing but their seed together, in their order."""
    return list(grouped(rows, lambda row: (row.method, row.trained_on, row.tested_on)).values())


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
    lines = []
    for tested_on, groups in grouped(but_for_seeds(rows), lambda group: group[0].tested_on).items():
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


def as_markdown(rows: list[Row], found: dict[str, Sides], options: Options) -> str:
    """The table for people: architectures left out first."""
    dataset, halves = options.dataset, dict[bool, list[list[str]]]({True: [], False: []})
    for group in but_for_seeds([row for row in rows if not row.by_architecture]):
        first, results = group[0], [row.judged.evaluation() for row in group]
        line, out = [first.method, " + ".join(first.trained_on), first.tested_on, *rates(results)], first.left_out
        halves[out].append([*line, calibrated_rate(group), paper_rate(dataset, group[0])] if out else line)
    head = ["detector", "trained on", "tested on", *RATES]
    counts = "; ".join(
        f"{name}: {len(s.training.clean) + len(s.training.spare)} clean, {len(s.training.vaccine)} vaccine, "
        f"{len(s.unseen.virus)} virus"
        for name, s in found.items()
    )
    candidates = candidates_section([row for row in rows if row.by_architecture], dataset)
    return f"""# Table 3, {dataset}, signatures from {options.start}: architectures that a detector never saw

{counts} models (development pool; the final pool was not opened).
A detector that is tested on architectures it never saw is trained on all clean models of its own and tested on all of
the others'; one that is tested on its own architectures is trained on half of the clean models and tested on the other
half. No stamped models. Detection rate is balanced accuracy; means over {len({row.seed for row in rows})} detector
seed(s), ± their standard deviation; intervals are the first seed's. The paper's numbers are of a detector trained on
the two other architectures.

{CROSS_ENTROPY}

{candidates}## Left out, with the usual threshold

The threshold is fixed by cross-validation with random folds of the training models, so that every architecture of
theirs is in every fold. "chosen: ..." was chosen on LeNet-5 networks, of which some may be tested here.

{markdown_table([*head, f"with {OWN_CLEAN} clean ones", "paper"], halves[True])}

## Tested on an architecture that was trained on

{markdown_table(head, halves[False])}
"""
