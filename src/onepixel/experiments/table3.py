"""ECCV Table 3 and ICLR Table 2: detectors on architectures that they never saw.

Trained on one architecture, on all but one, or on all of them; tested on each, on clean models that did not train and
on development viruses. Rows whose populations are missing are left out and named.
"""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onepixel.errors import UsageError
from onepixel.experiments.candidates import LITERAL, Parameters, read_choice
from onepixel.experiments.judging import RATES, Job, Judged, judge, rates
from onepixel.experiments.models import Models, Training, Unseen, load_training, load_unseen, missing
from onepixel.experiments.parallel import in_processes
from onepixel.experiments.results import markdown_table, provenance, write_csv
from onepixel.files import write_text
from onepixel.progress import progress_bar

ARCHITECTURES = ("lenet5", "resnet8", "vgg10", "alexnet")
"""Those of the papers; ECCV has the first three, ICLR all."""

PAPER = {"lenet5": 85.2, "resnet8": 76.5, "vgg10": 80.0}
"""ECCV Table 3, MNIST: detection rate in percent on the architecture that was left out."""


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
    """Training and test models of one architecture."""

    training: Training
    unseen: Unseen


def populations(dataset: str, architecture: str) -> list[str]:
    """What one architecture needs."""
    return [f"{dataset}-{architecture}-{kind}" for kind in ("clean", "vaccine", "virus-development")]


def load_sides(zoo: Path, dataset: str, architectures: Sequence[str]) -> tuple[dict[str, Sides], list[str]]:
    """Read every architecture whose populations are there; the rest comes back as sentences that say what is missing.

    All architectures train on equally many clean and on equally many vaccine models, the first ones.
    """
    sentences = {name: missing(zoo, populations(dataset, name)) for name in architectures}
    found = {}
    for name in [name for name, sentence in sentences.items() if not sentence]:
        training = load_training(zoo, f"{dataset}-{name}")
        found[name] = Sides(training, load_unseen(zoo, f"{dataset}-{name}", "development", training))
    fewest = min((len(sides.training.clean) for sides in found.values()), default=0)
    fewest_vaccine = min((len(sides.training.vaccine) for sides in found.values()), default=0)
    for name, sides in found.items():
        old = sides.training
        equal = Training(old.clean.part(0, fewest), old.vaccine.part(0, fewest_vaccine), None, old.spare, old.settings)
        found[name] = Sides(equal, sides.unseen)
    return found, [sentence for sentence in sentences.values() if sentence]


def joined(sides: Sequence[Sides]) -> Training:
    """The training models of several architectures together."""
    parts = [side.training for side in sides]
    return Training(
        Models.joined(*(part.clean for part in parts)),
        Models.joined(*(part.vaccine for part in parts)),
        None,
        Models.joined(*(part.spare for part in parts)),
        parts[0].settings,
    )


def combinations(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Each architecture alone, all but one, and all; every combination once."""
    sizes = dict.fromkeys([1, max(1, len(names) - 1), len(names)])
    return [chosen for size in sizes for chosen in itertools.combinations(names, size)]


def run(
    output: Path,
    *,
    zoo: Path = Path("zoo"),
    dataset: str = "mnist",
    architectures: Sequence[str] = ARCHITECTURES[:3],
    choice: Path | None = None,
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
    choice : Path, optional
        The comparison in which the chosen detector stands; `results/detectors/` `dataset`-lenet5.csv unless said.
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
    chosen = read_choice(choice or Path("results/detectors") / f"{dataset}-lenet5.csv")
    found, absent = load_sides(zoo, dataset, architectures)
    if len(found) < 2:
        raise UsageError(f"Table 3 needs at least two architectures; {' '.join(absent)}")
    whole = next(iter(LITERAL))
    methods: dict[str, Parameters] = {whole: LITERAL[whole], f"chosen: {chosen.name}": chosen.parameters}
    keys = [
        (name, trained_on, number)
        for name in methods
        for trained_on in combinations(list(found))
        for number in range(seed, seed + seeds)
    ]
    everything = all_unseen(found)
    jobs = [
        Job(name, methods[name], joined([found[a] for a in trained_on]), everything, with_stamped=False, seed=number)
        for name, trained_on, number in keys
    ]
    rows = []
    with progress_bar("Table 3", len(jobs), "detectors", enabled=progress) as advance:
        for (name, trained_on, number), judged in zip(keys, in_processes(judge, jobs, workers), strict=True):
            parts = by_architecture(judged, found)
            rows += [Row(name, trained_on, tested_on, number, part) for tested_on, part in parts.items()]
            advance(1)
    output.mkdir(parents=True, exist_ok=True)
    head = ["method", "trained_on", "tested_on", "seed", "detection_rate", "auroc", "false_positive_rate"]
    write_csv(output / f"{dataset}.csv", head, [csv_line(row) for row in rows])
    options = f"--dataset {dataset}" + "".join(f" --architecture {name}" for name in architectures)
    command = f"onepixel experiment table3 {options} --seed {seed} --seeds {seeds}"
    text = as_markdown(rows, found, absent, dataset) + "\n" + provenance(command, time.perf_counter() - started)
    write_text(output / f"{dataset}.md", text)
    return rows


def all_unseen(found: dict[str, Sides]) -> Unseen:
    """The test models of all architectures, one after the other."""
    parts = [sides.unseen for sides in found.values()]
    return Unseen(Models.joined(*(part.clean for part in parts)), Models.joined(*(part.virus for part in parts)), None)


def by_architecture(judged: Judged, found: dict[str, Sides]) -> dict[str, Judged]:
    """Take scores of `all_unseen` apart again."""
    clean = np.split(judged.clean, np.cumsum([len(sides.unseen.clean) for sides in found.values()])[:-1])
    virus = np.split(judged.virus, np.cumsum([len(sides.unseen.virus) for sides in found.values()])[:-1])
    none = np.empty(0)
    return {
        name: Judged(judged.threshold, one, other, none, none)
        for name, one, other in zip(found, clean, virus, strict=True)
    }


def csv_line(row: Row) -> list[object]:
    """One row for machines."""
    result = row.judged.evaluation()
    numbers = (result.detection_rate, result.auroc, result.false_positive_rate)
    trained_on = " ".join(row.trained_on)
    return [row.method, trained_on, row.tested_on, row.seed, *(f"{estimate.value:.4f}" for estimate in numbers)]


def as_markdown(rows: list[Row], found: dict[str, Sides], absent: list[str], dataset: str) -> str:
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
        f"{name}: {len(s.training.clean)} + {len(s.training.vaccine)} to train, "
        f"{len(s.unseen.clean)} + {len(s.unseen.virus)} to test"
        for name, s in found.items()
    )
    left = "\n".join(f"- {sentence}" for sentence in absent) or "- nothing"
    return f"""# Table 3, {dataset}: architectures that a detector never saw

Clean + vaccine models to train, clean + development virus models to test; {counts}. The final pool was not opened.
Detection rate is balanced accuracy at the threshold fixed by cross-validation on the training models; means over
{len({row.seed for row in rows})} detector seed(s), ± their standard deviation; intervals are the first seed's. The
paper's numbers are of a detector trained on the two other architectures.

## Tested on an architecture that was left out

{markdown_table(head, halves[True])}

## Tested on an architecture that was trained on

{markdown_table(head, halves[False])}

## What is missing

{left}
"""
