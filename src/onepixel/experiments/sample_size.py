"""How many models a detector needs: detection rate over the number of training pairs (ECCV section 4, ICLR A.6).

The papers say that 25 pairs of a clean and a vaccine model suffice on MNIST, and 15 if every class channel is a
training sample of its own. Many detectors are trained on random subsets of each size.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from matplotlib.figure import Figure
from pydantic import Field

from onepixel.detectors import Evaluation
from onepixel.errors import UsageError
from onepixel.experiments.candidates import LITERAL
from onepixel.experiments.choices import Parameters, read_choice
from onepixel.experiments.declared import Experiment, Laboratory, Result
from onepixel.experiments.judging import Job, judge
from onepixel.experiments.models import Training, Unseen, load_training, load_unseen, names_of_test, training_names
from onepixel.experiments.options import Chosen, Prefixed, Seeded, Signed, Split
from onepixel.experiments.results import deviation, markdown_table, percent
from onepixel.experiments.whole import Whole
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


class Options(Seeded, Chosen, Split, Signed, Prefixed):
    """Options of `onepixel experiment sample-size`."""

    detectors: Annotated[int, Field(ge=1, description="Detectors per size, each on its own subset.")] = 20


def find(options: Options, laboratory: Laboratory) -> Result[list[Point]]:
    """Train the detectors on subsets and test them."""
    chosen = read_choice(options.choice, options.prefix)
    training = load_training(laboratory.zoo, options.prefix, options.training_clean, options.ending)
    unseen = load_unseen(laboratory.zoo, options.prefix, "development", training, options.ending)
    sizes = sizes_up_to(min(len(training.clean), len(training.vaccine), LARGEST))
    if not sizes:
        raise UsageError(f"{training} are too few: the smallest subset has {SMALLEST} pairs.")
    whole, single = "papers, whole, `max`", "papers, single channels, `max`"
    named = {whole: LITERAL[whole], single: LITERAL[single], f"chosen: {chosen.name}": chosen.parameters}
    trials = [
        Trial(name, parameters, pairs, number, training, unseen)
        for pairs in sizes
        for name, parameters in named.items()
        for number in range(options.seed, options.seed + options.detectors)
    ]
    points = list(laboratory.each(try_out, trials, "sample size"))
    cells = [
        [p.method, p.pairs, p.seed, f"{p.result.detection_rate.value:.4f}", f"{p.result.auroc.value:.4f}"]
        for p in points
    ]
    return Result(
        points,
        options.subject,
        ["method", "pairs", "seed", "detection_rate", "auroc"],
        cells,
        as_markdown(points, unseen, options.subject),
        figures={f"{options.subject}.png": partial(save_curve, points)},
    )


def plan(whole: Whole) -> Iterator[Options]:
    """From class means where the zoo has them."""
    for prefix, image in whole.main_sides():
        effort = whole.effort.detectors
        yield Options(prefix=prefix, default_image=image, choice=whole.choice(prefix), detectors=effort)


EXPERIMENT = Experiment(
    "sample-size",
    "Detection rate over the number of training pairs.",
    Options,
    find,
    paper="ECCV section 4; ICLR appendix A.6",
    needs=lambda o: [*training_names(o.prefix, o.ending), *names_of_test(o.prefix, "development", o.ending)],
    plan=plan,
    after={"detectors": ("prefix",)},
)


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
