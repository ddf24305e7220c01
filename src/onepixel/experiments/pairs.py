"""Unusual pairs of classes: a detector that knows clean networks alone, where there are many classes.

From black, one pixel says little about networks with 43 classes (Table 2). So every class's mean image is driven by
small patches, and a pair of classes counts that is driven farther than in clean networks of the same data set.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import Field

from onepixel.detectors import Evaluation
from onepixel.detectors.metrics import Estimate, best_threshold, evaluate_scores, fast_auroc, share_of
from onepixel.detectors.unusual_pairs import FEWEST, UnusualPairs, left_out_scores, places_of
from onepixel.errors import UsageError
from onepixel.experiments.declared import Cells, Experiment, Laboratory, Result, columns, interval
from onepixel.experiments.judging import CROSS_ENTROPY, RATES, rates
from onepixel.experiments.models import names_of_test, training_names
from onepixel.experiments.openings import record_opening
from onepixel.experiments.option import USUAL_FOLDER
from onepixel.experiments.options import Growing, Prefixed
from onepixel.experiments.pair_records import PairRecords, measure_store
from onepixel.experiments.whole import Whole
from onepixel.populations.models import has
from onepixel.populations.names import PopulationName
from onepixel.populations.store import Record, Store
from onepixel.populations.zoo import ZooPopulation
from onepixel.progress import counted
from onepixel.report.figures import save_figure
from onepixel.report.tables import deviation, markdown_table
from onepixel.trojan import Pool

DRAWS = 20
"""Random subsets of the clean networks, of each size, for the curve."""

SIZES = (3, 5, 10, 20, 40)

NEAR = 10
"""An attacker's pair among so many most unusual ones is near the top."""


class Options(Growing, Prefixed):
    """Options of `onepixel experiment pairs`."""

    prefix: Annotated[str, Field(description="Data set and architecture, as population names begin.")] = (
        "gtsrb-six_plus_two-tuned"
    )
    pool: Annotated[
        Pool, Field(description="Which networks are the test, beside those that train, which are left out in turns.")
    ] = "final"
    measured: Annotated[Path, Field(description="The folder of measured networks."), USUAL_FOLDER] = Path(
        "results/pairs/measured"
    )


@dataclass(frozen=True)
class Side:
    """Clean and trojaned networks that are judged.

    Attributes
    ----------
    name : str
    found : Evaluation
    places : list of int
        Which place the attacker's pair takes among all, one for each trojaned network.
    pairs : int
        How many pairs there are.
    """

    name: str
    found: Evaluation
    places: list[int]
    pairs: int

    @property
    def named(self) -> Estimate:
        """How often the most unusual pair is the attacker's."""
        return share_of(place == 0 for place in self.places)

    @property
    def near(self) -> Estimate:
        """How often the attacker's pair is near the top."""
        return share_of(place < NEAR for place in self.places)


@dataclass(frozen=True)
class Found:
    """Both sides, and the areas (draws,) by how many clean networks say what is usual."""

    training: Side
    test: Side
    curve: dict[int, list[float]]


def find(options: Options, laboratory: Laboratory) -> Result[Found]:
    """Measure what is new; learn what is usual; judge the training side by leaving out, and then the test."""
    networks = options.networks
    if options.stores is not None:
        measure(options, laboratory)
    clean_name, vaccine_name = training_names(networks)[:2]
    clean, _ = read(options, laboratory, clean_name)
    vaccine, vaccinated = read(options, laboratory, vaccine_name)
    usual = UnusualPairs.of(clean)
    known = left_out_scores(clean), usual.scores(vaccine)
    judge = partial(side, threshold=best_threshold(*known), known=known)
    training = judge("training, left out in turns", known[0], usual.deviations(vaccine), vaccinated)
    names = names_of_test(networks, options.pool)
    final = options.pool == "final"
    if final:
        record_opening(laboratory.ledger, list(map(str, names)), ["unusual pairs"], laboratory.command)
    virus, attacked = read(options, laboratory, names[0])
    unseen, _ = read(options, laboratory, names[1]) if final else (clean, [])
    test = judge(
        f"{options.pool} pool",
        usual.scores(unseen) if final else known[0],
        usual.deviations(virus),
        attacked,
    )
    found = Found(training, test, curve_of(clean, (unseen, virus)) if final else {})
    return Result.of(
        found,
        f"{networks}-{options.pool}",
        map(for_machines, (training, test)),
        as_markdown(found, options, (len(clean), len(vaccine))),
        figures={f"{networks}-{options.pool}.png": partial(save_curve, found.curve)} if found.curve else {},
    )


def measure(options: Options, laboratory: Laboratory) -> None:
    """Measure the networks of the populations' stores that have no row yet."""
    assert options.stores is not None
    names = training_names(options.networks)[:2] + names_of_test(options.networks, options.pool)
    for name in names:
        folder = options.stores / name.networks
        if (folder / "recipe.toml").is_file():
            store = Store.open(folder)
            done = measure_store(store, options.measured / f"{name}.npz", laboratory.workers)
            for _ in counted(done, str(name), len(list(store.records())), "networks", enabled=laboratory.progress):
                pass


def read(
    options: Options, laboratory: Laboratory, name: PopulationName
) -> tuple[NDArray[np.float32], list[tuple[int, int]]]:
    """Rises (N, K, K) of a population's measured networks, and the attacker's first pair in each that has one.

    Raises
    ------
    UsageError
        If none of them was measured.
    """
    path = options.measured / f"{name}.npz"
    if not path.is_file():
        raise UsageError(f"No network of {name} was measured; --stores FOLDER names where their weights are.")
    measured = PairRecords.load(path)
    records = ZooPopulation(name.folder(laboratory.zoo)).records()
    kept = [one for one in records if one.status == "passed" and one.slot in set(measured.slots.tolist())]
    return measured.of([one.slot for one in kept]), [pair for one in kept for pair in first_pair(one)]


def first_pair(record: Record) -> Iterable[tuple[int, int]]:
    """The first class that an attacker relabels, with its target; none where there is no attack."""
    changed = ((source, target) for source, target in enumerate(record.target_of) if source != target)
    return list(changed)[:1]


def side(
    name: str,
    clean: NDArray[np.float64],
    deviations: NDArray[np.float64],
    pairs: Sequence[tuple[int, int]],
    threshold: float,
    known: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> Side:
    """Judge clean networks by their scores, and trojaned ones by the deviations of their pairs."""
    trojaned = deviations.max(axis=(1, 2))
    labels = np.r_[np.zeros(len(clean), np.int64), np.ones(len(trojaned), np.int64)]
    found = evaluate_scores(np.r_[clean, trojaned], labels, threshold, known=known)
    classes = deviations.shape[1]
    return Side(name, found, places_of(deviations, pairs), classes * (classes - 1))


def curve_of(
    clean: NDArray[np.float32], tested: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> dict[int, list[float]]:
    """AUROC on the test by how many clean networks say what is usual, for random subsets of each size."""
    rng = np.random.default_rng(0)
    sizes = [size for size in SIZES if FEWEST <= size < len(clean)]
    areas: dict[int, list[float]] = {}
    for size in sizes:
        subsets = (rng.choice(len(clean), size, replace=False) for _ in range(DRAWS))
        usual = [UnusualPairs.of(clean[subset]) for subset in subsets]
        areas[size] = [fast_auroc(*(one.scores(rises) for rises in tested)) for one in usual]
    return areas | {len(clean): [fast_auroc(*(UnusualPairs.of(clean).scores(rises) for rises in tested))]}


def plan(whole: Whole) -> Iterator[Options]:
    """Once for every fine-tuned family whose networks were measured."""
    for networks in whole.tuned:
        options = Options(prefix=networks.networks, pool=whole.pool)
        names = training_names(options.networks)[:2] + names_of_test(options.networks, options.pool)
        if has(whole.zoo, *names) and all((options.measured / f"{name}.npz").is_file() for name in names):
            yield options


def needs(options: Options) -> list[PopulationName]:
    """Populations without which there is no table."""
    return training_names(options.networks)[:2] + names_of_test(options.networks, options.pool)


EXPERIMENT = Experiment(
    "pairs",
    "Which pair of classes is driven unusually far, for networks with many classes, by what clean ones allow.",
    Options,
    find,
    paper="ECCV Table 2 and Figure 7 (GTSRB)",
    needs=needs,
    plan=plan,
)


def for_machines(one: Side) -> Cells:
    """One side for machines."""
    found = one.found
    return {
        "networks": one.name,
        "clean": found.clean,
        "trojaned": found.trojaned,
        **columns(found, "detection_rate", "auroc", "cross_entropy", "true_positive_rate", "false_positive_rate"),
        **interval("pair_named", one.named),
        f"pair_in_{NEAR}": one.near,
        "median_place": float(np.median(one.places)),
        "pairs": one.pairs,
    }


def save_curve(curve: dict[int, list[float]], path: Path) -> None:
    """Draw AUROC against the number of clean networks."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    means, spreads = ([float(statistic(areas)) for areas in curve.values()] for statistic in (np.mean, np.std))
    axes.errorbar([*curve], means, spreads, marker="o", color="#0072B2", capsize=3, lw=1.3, ms=5)
    axes.axhline(0.5, color="0.6", lw=0.8, ls="--")
    axes.set(xlabel="clean networks that say what is usual", ylabel="AUROC", ylim=(0.4, 1.02))
    save_figure(figure, path)


def as_markdown(found: Found, options: Options, trained: tuple[int, int]) -> str:
    """The page for people."""
    judged = [*RATES, "found"]
    head = ["networks", "clean", "trojaned", *judged, "pair named", f"in the first {NEAR}", "median place"]
    rows = [
        [
            one.name,
            one.found.clean,
            one.found.trojaned,
            *rates([one.found], judged),
            one.named,
            one.near,
            f"{np.median(one.places):g}",
        ]
        for one in (found.training, found.test)
    ]
    curve = [[size, deviation(areas)] for size, areas in found.curve.items()]
    by_size = f"""
## How many clean networks it takes

AUROC on the {options.pool} pool; {DRAWS} random subsets of each size, mean ± standard deviation. No trojaned network is
needed, but for the threshold.

![AUROC over clean networks]({options.networks}-{options.pool}.png)

{markdown_table(["clean networks", "AUROC"], curve)}
"""
    return f"""# Unusual pairs of classes, {options.networks}, {options.pool} viruses

The mean image of every class is covered by 3 x 3 patches in five generic fillings, at every third row and column, and
how far the log-odds of every other class rise is noted; queries only, no gradient. From the logarithms of these rises
the medians of source and target are taken, so that classes that are near to everything say nothing; the score is by
how many standard deviations the most unusual pair lies above what {trained[0]} clean networks have. Nothing is fitted
to trojaned networks but the threshold ({trained[1]} vaccine networks). What counts was chosen on the training side.
From the papers' black image single pixels tell little more than a coin: `results/table2`.

"Place" is that of the attacker's pair among all {found.test.pairs:,}, 0 for the most unusual one.
{CROSS_ENTROPY}

{markdown_table(head, rows)}
{by_size if curve else ""}"""
