"""How many models a detector needs: detection rate over the number of training pairs (ECCV section 4, ICLR A.6).

The papers say that 25 pairs of a clean and a vaccine model suffice on MNIST, and 15 if every class channel is a
training sample of its own. Many detectors are trained on random subsets of each size.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from onepixel.detectors import Evaluation
from onepixel.errors import UsageError
from onepixel.experiments.candidates import LITERAL, Parameters, choice_option, read_choice
from onepixel.experiments.judging import Job, judge
from onepixel.experiments.models import Training, Unseen, load_training, load_unseen, side_options
from onepixel.experiments.results import deviation, markdown_table, percent, provenance, write_result
from onepixel.parallel import in_processes
from onepixel.progress import counted
from onepixel.report.figures import save_figure

SMALLEST, SMALL_STEP, LARGE_STEP = 5, 5, 25
"""Sizes go from the smallest by small steps to 25 pairs, then by large ones."""

LARGEST = 100
"""Pairs at which the curve ends, also where there are more: four times as many as the papers say suffice."""


def sizes_up_to(largest: int) -> list[int]:
    """Numbers of training pairs: 5 to 25 by 5, then by 25."""
    small = range(SMALLEST, LARGE_STEP + 1, SMALL_STEP)
    return [size for size in [*small, *range(2 * LARGE_STEP, largest + 1, LARGE_STEP)] if size <= largest]


@dataclass(frozen=True)
class Trial:
    """One detector on one random subset.

    Attributes
    ----------
    method : str
    parameters : dict
    pairs : int
        Clean models, and vaccine models, that it is trained on.
    seed : int
        Of the subset and of the detector; the same subsets for every method.
    """

    method: str
    parameters: Parameters
    pairs: int
    seed: int
    training: Training
    unseen: Unseen


@dataclass(frozen=True)
class Point:
    """What one trial found."""

    method: str
    pairs: int
    seed: int
    result: Evaluation


def subset(training: Training, pairs: int, seed: int) -> Training:
    """Draw so many clean and so many vaccine models, without replacement; no stamped ones."""
    rng = np.random.default_rng([seed, pairs])
    clean, vaccine = (rng.choice(len(kind), pairs, replace=False) for kind in (training.clean, training.vaccine))
    return Training(
        training.clean.chosen(clean), training.vaccine.chosen(vaccine), None, training.spare, training.settings
    )


def try_out(trial: Trial) -> Point:
    """Train one detector on its subset and test it."""
    drawn = subset(trial.training, trial.pairs, trial.seed)
    job = Job(trial.method, trial.parameters, drawn, trial.unseen, with_stamped=False, seed=trial.seed)
    return Point(trial.method, trial.pairs, trial.seed, judge(job).evaluation())


def run(
    output: Path,
    *,
    zoo: Path = Path("zoo"),
    prefix: str = "mnist-lenet5",
    ending: str = "",
    clean: int | None = None,
    choice: Path | None = None,
    seed: int = 0,
    detectors: int = 20,
    workers: int | None = None,
    progress: bool = False,
) -> list[Point]:
    """Train the detectors, draw the curve, and write it as figure, Markdown and CSV below `output`.

    Parameters
    ----------
    output : Path
        A folder; made where it does not exist.
    zoo : Path
        Where the populations are.
    prefix : str
        What their names begin with: data set and architecture.
    ending : str
        What they end with where signatures start from something else than black, a key of `SIGNED`.
    clean : int, optional
        How many clean models the subsets are drawn from; the rest is test. Half of them unless said.
    choice : Path, optional
        The comparison in which the chosen detector stands; `usual_choice` unless said.
    seed, detectors : int
        First seed, and detectors per size and method.
    workers : int, optional
        Processes; one per core unless said.
    progress : bool
        Show a progress bar on standard error.

    Raises
    ------
    UsageError
        If a population or the choice is missing, or there are too few models.
    """
    started = time.perf_counter()
    chosen = read_choice(choice, prefix)
    training = load_training(zoo, prefix, clean, ending)
    unseen = load_unseen(zoo, prefix, "development", training, ending)
    sizes = sizes_up_to(min(len(training.clean), len(training.vaccine), LARGEST))
    if not sizes:
        raise UsageError(f"{training} are too few: the smallest subset has {SMALLEST} pairs.")
    whole, single = "papers, whole, `max`", "papers, single channels, `max`"
    named = {whole: LITERAL[whole], single: LITERAL[single], f"chosen: {chosen.name}": chosen.parameters}
    trials = [
        Trial(name, parameters, pairs, number, training, unseen)
        for pairs in sizes
        for name, parameters in named.items()
        for number in range(seed, seed + detectors)
    ]
    found = in_processes(try_out, trials, workers)
    points = list(counted(found, "sample size", len(trials), "detectors", enabled=progress))
    head = ["method", "pairs", "seed", "detection_rate", "auroc"]
    cells = [
        [p.method, p.pairs, p.seed, f"{p.result.detection_rate.value:.4f}", f"{p.result.auroc.value:.4f}"]
        for p in points
    ]
    sides = side_options(clean, ending) + choice_option(choice, prefix)
    command = f"onepixel experiment sample-size --prefix {prefix}{sides} --seed {seed} --detectors {detectors}"
    made = provenance(command, time.perf_counter() - started)
    name = prefix + ending
    write_result(output, name, head, cells, as_markdown(points, unseen, name), made)
    save_curve(points, output / f"{name}.png")
    return points


def rates_of(points: list[Point]) -> dict[str, dict[int, list[float]]]:
    """Detection rates over detectors, by method and number of pairs."""
    found: dict[str, dict[int, list[float]]] = {}
    for point in points:
        found.setdefault(point.method, {}).setdefault(point.pairs, []).append(point.result.detection_rate.value)
    return found


def save_curve(points: list[Point], path: Path) -> None:
    """Draw detection rates, mean and standard deviation over detectors, against the number of pairs."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for (method, by_size), marker, colour in zip(
        rates_of(points).items(), ("o", "s", "^"), ("#0072B2", "#E69F00", "#009E73"), strict=True
    ):
        pairs = list(by_size)
        means = [100 * np.mean(by_size[size]) for size in pairs]
        spreads = [100 * np.std(by_size[size]) for size in pairs]
        label = method.replace("`", "")
        axes.errorbar(pairs, means, spreads, marker=marker, color=colour, capsize=3, lw=1.3, ms=5, label=label)
    axes.axhline(50, color="0.6", lw=0.8, ls="--")
    axes.set(xlabel="training pairs (clean + vaccine models)", ylabel="detection rate, %")
    axes.legend(loc="lower right", fontsize=8)
    save_figure(figure, path)


def as_markdown(points: list[Point], unseen: Unseen, prefix: str) -> str:
    """The curve as a table for people."""
    found = rates_of(points)
    areas: dict[tuple[str, int], list[float]] = {}
    for point in points:
        areas.setdefault((point.method, point.pairs), []).append(point.result.auroc.value)
    sizes = list(dict.fromkeys(point.pairs for point in points))
    rates = [[size, *(percent(by_size[size]) for by_size in found.values())] for size in sizes]
    curves = [[size, *(deviation(areas[method, size]) for method in found)] for size in sizes]
    detectors = len({point.seed for point in points})
    return f"""# How many models a detector needs, {prefix}

The papers: 25 pairs of a clean and a vaccine model suffice on MNIST, 15 if every class channel is a training sample.

{detectors} detector(s) per row and column, each on a random subset of the training models (the same subsets in every
column), tested on {len(unseen.clean)} clean and {len(unseen.virus)} development virus models; mean ± standard deviation
over detectors. No stamped models in training. The final pool was not opened.

![Detection rate over training pairs]({prefix}.png)

## Detection rate, %

{markdown_table(["pairs", *found], rates)}

## AUROC

{markdown_table(["pairs", *found], curves)}
"""
