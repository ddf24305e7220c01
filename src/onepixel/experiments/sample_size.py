"""How many models a detector needs: detection rate over the number of training pairs (ECCV section 4, ICLR A.6).

The papers say that 25 pairs of a clean and a vaccine model suffice on MNIST, and 15 if every class channel is a
training sample of its own. Many detectors are trained on random subsets of each size.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from matplotlib.figure import Figure
from pydantic import Field

from onepixel.detectors import Evaluation
from onepixel.errors import UsageError
from onepixel.experiments.choices import papers
from onepixel.experiments.declared import Cells, Experiment, Laboratory, Result, columns
from onepixel.experiments.judging import Job, Row, grouped, judge_all
from onepixel.experiments.models import Unseen, names_of_test
from onepixel.experiments.options import Chosen, Pooled, Seeded
from onepixel.experiments.table2 import load_sides, needs, opened
from onepixel.experiments.whole import Whole
from onepixel.populations.models import has, load_models
from onepixel.populations.names import PopulationName
from onepixel.report.figures import save_figure
from onepixel.report.tables import deviation, markdown_table, percent
from onepixel.trojan import Pool

SMALLEST, SMALL_STEP, LARGE_STEP = 5, 5, 25
"""Sizes go from the smallest by small steps to 25 pairs, then by large ones."""

LARGEST = 100
"""Pairs at which the curve ends, also where there are more: four times as many as the papers say suffice."""

FEWEST_VIRUSES = 3
"""A pool of fewer is none to test with in `experiment all`."""


def sizes_up_to(largest: int) -> list[int]:
    """Numbers of training pairs: 5 to 25 by 5, then by 25."""
    small = range(SMALLEST, LARGE_STEP + 1, SMALL_STEP)
    return [size for size in [*small, *range(2 * LARGE_STEP, largest + 1, LARGE_STEP)] if size <= largest]


class Options(Seeded, Chosen, Pooled):
    """Options of `onepixel experiment sample-size`."""

    detectors: Annotated[int, Field(ge=1, description="Detectors per size, each on its own subset.")] = 20

    @property
    def subject(self) -> str:
        """Networks and what their signatures start from, and the viruses where they are the final pool's."""
        return f"{self.networks}-final" if self.pool == "final" else str(self.networks)


def find(options: Options, laboratory: Laboratory) -> Result[list[Row]]:
    """Train the detectors on subsets and test them."""
    methods = [*papers(0, -1), options.chosen()]
    training, unseen = load_sides(options, laboratory, [method.name for method in methods])
    sizes = sizes_up_to(min(len(training.clean), len(training.vaccine), LARGEST))
    if not sizes:
        raise UsageError(f"{training} are too few: the smallest subset has {SMALLEST} pairs.")
    tests = {"clean": unseen.clean, "virus": unseen.virus}
    jobs = [
        Job(method, seed, training, tests, pairs=pairs)
        for pairs in sizes
        for method in methods
        for seed in range(options.seed, options.seed + options.detectors)
    ]
    rows = judge_all(jobs, laboratory, "sample size")
    curves = {
        name: {pairs: [row.judged.evaluation() for row in some] for pairs, some in grouped(own, pairs_of).items()}
        for name, own in grouped(rows, lambda row: row.method.name).items()
    }
    return Result.of(
        rows,
        options.subject,
        map(for_machines, rows),
        as_markdown(curves, unseen, options),
        figures={f"{options.subject}.png": partial(save_curve, curves)},
    )


def plan(whole: Whole) -> Iterator[Options]:
    """Networks trained from scratch; where the zoo has hardly any viruses for looking, final ones test."""
    for networks in whole.main:
        if (pool := pool_of_test(whole.zoo, networks)) is not None:
            yield from whole.repeated(Options, [networks], pool=pool)


def pool_of_test(zoo: Path, networks: PopulationName) -> Pool | None:
    """The first pool that has viruses enough to test with; None where neither has."""
    pools: tuple[Pool, ...] = ("development", "final")
    for pool in pools:
        names = names_of_test(networks, pool)
        if has(zoo, *names) and len(load_models(zoo, names[0])[0]) >= FEWEST_VIRUSES:
            return pool
    return None


EXPERIMENT = Experiment(
    "sample-size",
    "Detection rate over the number of training pairs.",
    Options,
    find,
    paper="ECCV section 4; ICLR appendix A.6",
    needs=needs,
    plan=plan,
    after={"detectors": ("prefix",)},
)

Curves = Mapping[str, Mapping[int, Sequence[Evaluation]]]
"""What detectors say, by method and number of pairs."""


def pairs_of(row: Row) -> int:
    """How many clean models, and vaccine models, a detector was trained on."""
    return row.job.pairs or 0


def for_machines(row: Row) -> Cells:
    """One row for machines."""
    about = {"method": row.method.name, "pairs": pairs_of(row), "seed": row.seed}
    return about | columns(row.judged.evaluation(), "detection_rate", "auroc", "cross_entropy")


def save_curve(curves: Curves, path: Path) -> None:
    """Draw detection rates, mean and standard deviation over detectors, against the number of pairs."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for (method, by_size), marker, colour in zip(
        curves.items(), ("o", "s", "^"), ("#0072B2", "#E69F00", "#009E73"), strict=True
    ):
        rates = [[100 * one.detection_rate.value for one in results] for results in by_size.values()]
        means, spreads = [np.mean(values) for values in rates], [np.std(values) for values in rates]
        label = method.replace("`", "")
        axes.errorbar([*by_size], means, spreads, marker=marker, color=colour, capsize=3, lw=1.3, ms=5, label=label)
    axes.axhline(50, color="0.6", lw=0.8, ls="--")
    axes.set(xlabel="training pairs (clean + vaccine models)", ylabel="detection rate, %")
    axes.legend(loc="lower right", fontsize=8)
    save_figure(figure, path)


def as_markdown(curves: Curves, unseen: Unseen, options: Options) -> str:
    """The curve as a table for people."""
    sizes = list(next(iter(curves.values())))
    rates = [
        [size, *(percent([one.detection_rate.value for one in curve[size]]) for curve in curves.values())]
        for size in sizes
    ]
    areas = [
        [size, *(deviation([one.auroc.value for one in curve[size]]) for curve in curves.values())] for size in sizes
    ]
    return f"""# How many models a detector needs, {options.subject}

The papers: 25 pairs of a clean and a vaccine model suffice on MNIST, 15 if every class channel is a training sample;
on Fashion-MNIST 50 pairs; on GTSRB 175 pairs give 87.31 %, and 100 pairs 97 % by single channels, which reach 90 % on
ImageNet.

{options.detectors} detector(s) per row and column, each on a random subset of the training models (the same subsets in
every column), tested on {len(unseen.clean)} clean and {len(unseen.virus)} {options.pool} virus models; mean ± standard
deviation over detectors. No stamped models in training. {opened(options)}

![Detection rate over training pairs]({options.subject}.png)

## Detection rate, %

{markdown_table(["pairs", *curves], rates)}

## AUROC

{markdown_table(["pairs", *curves], areas)}
"""
