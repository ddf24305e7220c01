"""Unusual pairs of classes: a detector that knows clean networks alone, for fine-tuned networks on colour images.

From black, one pixel says little about networks that are fine-tuned from a few bases (Table 2). So images of every
class are driven by small patches, and a pair of classes counts that is driven far: farther than in clean networks of
the same base, as whoever knows the base can fine-tune them; than in those of other bases; or far as it is, by no other
network.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import Field

from onepixel.detectors import Evaluation
from onepixel.detectors.metrics import Estimate, best_threshold, evaluate_scores, fast_auroc, share_of
from onepixel.detectors.unusual_pairs import deviations_among, places_of
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

SAME, OTHER, NONE = "the same base", "other bases", "none"
"""Which clean networks say what is usual; by none, it is how far a pair is driven that counts."""

SEVERAL = 4
"""Images of each class that are driven, where it is not the mean image: those of ten classes tell more."""

POOLS = ("training", "final")

DRAWS = 20
"""Random subsets of the clean networks, of each size, for the curve."""

SIZES = (3, 5, 10, 15)

NEAR = 10
"""An attacker's pair among so many most unusual ones is near the top."""


class Options(Growing, Prefixed):
    """Options of `onepixel experiment pairs`."""

    prefix: Annotated[str, Field(description="Data set and architecture, as population names begin.")] = (
        "gtsrb-six_plus_two-tuned"
    )
    images: Annotated[
        int, Field(ge=0, description="Test images of each class that are driven; 0 is the mean training image of each.")
    ] = 0
    measured: Annotated[Path, Field(description="The folder of measured networks."), USUAL_FOLDER] = Path(
        "results/pairs/measured"
    )

    @property
    def subject(self) -> str:
        """Networks, and what was driven."""
        return f"{self.networks}-{self.images}-images" if self.images else str(self.networks)

    def path(self, name: PopulationName) -> Path:
        """The file of a population's measured networks."""
        return self.measured / (f"{name}-{self.images}-images.npz" if self.images else f"{name}.npz")

    @property
    def clean(self) -> tuple[PopulationName, PopulationName]:
        """Clean networks of the training side and of the final pool."""
        return training_names(self.networks)[0], names_of_test(self.networks, "final")[1]

    @property
    def trojaned(self) -> tuple[PopulationName, PopulationName]:
        """Trojaned networks of both."""
        return training_names(self.networks)[1], names_of_test(self.networks, "final")[0]

    @property
    def stamped(self) -> tuple[PopulationName, PopulationName]:
        """Networks of both that saw stamped images with true labels, if there are any."""
        return self.networks.of("stamped-vaccine"), self.networks.of("stamped-all-final")


@dataclass(frozen=True)
class Measured:
    """What was measured of a population's networks.

    Attributes
    ----------
    rises : array of shape (N, K, K)
    slots : array of shape (N,)
    bases : array of shape (N,), str
        The base that each was fine-tuned from; "" for those that were not.
    attacked : list of (source, target)
        The attacker's first pair in each network that has an attack.
    """

    rises: NDArray[np.float32]
    slots: NDArray[np.int64]
    bases: NDArray[np.str_]
    attacked: list[tuple[int, int]]


@dataclass(frozen=True)
class Side:
    """Networks of a pool that are judged by clean ones.

    Attributes
    ----------
    pool, usual : str
        Which networks, and by which clean ones.
    found : Evaluation
    places : list of int
        Which place the attacker's pair takes among all, one for each trojaned network.
    pairs : int
        How many pairs there are.
    stamped : Estimate or None
        The share of stamped networks that are flagged, if there are any.
    """

    pool: str
    usual: str
    found: Evaluation
    places: list[int]
    pairs: int
    stamped: Estimate | None

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
    """All sides, and the areas (draws,) by how many clean networks of the same base say what is usual."""

    sides: list[Side]
    curve: dict[int, list[float]]


def find(options: Options, laboratory: Laboratory) -> Result[Found]:
    """Measure what is new; fix thresholds on the training side, and judge the final pool by them."""
    if options.stores is not None:
        measure(options, laboratory)
    clean, trojaned = (
        [read(options, laboratory, name) for name in names] for names in (options.clean, options.trojaned)
    )
    there = all(options.path(name).is_file() for name in options.stamped)
    stamped = [read(options, laboratory, name) for name in options.stamped] if there else []
    names = [str(options.trojaned[1]), str(options.clean[1])]
    record_opening(laboratory.ledger, names, ["unusual pairs"], laboratory.command)
    # Thresholds are fixed on the training side, which has networks of other bases only where it has several bases.
    ways = (SAME, OTHER, NONE) if len(np.unique(clean[0].bases)) > 1 else (SAME, NONE)
    sides = [side for usual in ways for side in sides_of(clean, trojaned, stamped, usual)]
    found = Found(sides, curve_of(clean[1], trojaned[1]))
    name = f"{options.subject}-final"
    return Result.of(
        found,
        name,
        map(for_machines, sides),
        as_markdown(found, name, options),
        figures={f"{name}.png": partial(save_curve, found.curve)},
    )


def sides_of(
    clean: Sequence[Measured], trojaned: Sequence[Measured], stamped: Sequence[Measured], usual: str
) -> Iterator[Side]:
    """Judge the training side, which fixes the threshold, and the final pool by it."""
    known, threshold = None, np.inf
    for number, pool in enumerate(POOLS):
        reference = clean[number if usual == SAME else 0]
        without = highest(judge(clean[number], reference, usual))
        deviations = judge(trojaned[number], reference, usual)
        scores = without, highest(deviations)
        if known is None:
            known, threshold = scores, best_threshold(*scores)
        flagged = [
            score >= threshold for one in stamped[number:][:1] for score in highest(judge(one, reference, usual))
        ]
        labels = np.repeat([0, 1], [len(one) for one in scores])
        classes = deviations.shape[1]
        yield Side(
            pool,
            usual,
            evaluate_scores(np.concatenate(scores), labels, threshold, known=known),
            places_of(deviations, trojaned[number].attacked),
            classes * (classes - 1),
            share_of(flagged) if flagged else None,
        )


def measure(options: Options, laboratory: Laboratory) -> None:
    """Measure the networks of the populations' stores that have no row yet."""
    assert options.stores is not None
    for name in (*options.clean, *options.trojaned, *options.stamped):
        folder = options.stores / name.networks
        if (folder / "recipe.toml").is_file():
            store = Store.open(folder)
            done = measure_store(store, options.path(name), options.images, laboratory.workers)
            for _ in counted(done, str(name), len(list(store.records())), "networks", enabled=laboratory.progress):
                pass


def read(options: Options, laboratory: Laboratory, name: PopulationName) -> Measured:
    """Read what was measured of a population.

    Raises
    ------
    UsageError
        If none of its networks was measured.
    """
    if not options.path(name).is_file():
        raise UsageError(f"No network of {name} was measured; --stores FOLDER names where their weights are.")
    measured = PairRecords.load(options.path(name))
    population = ZooPopulation(name.folder(laboratory.zoo))
    there = set(measured.slots.tolist())
    kept = [one for one in population.records() if one.status == "passed" and one.slot in there]
    slots = [one.slot for one in kept]
    base = population.recipe.base
    bases = ["" if base is None else f"{base.recipe} {slot % base.networks}" for slot in slots]
    return Measured(
        measured.of(slots), np.array(slots), np.array(bases), [pair for one in kept for pair in pair_of(one)]
    )


def pair_of(record: Record) -> list[tuple[int, int]]:
    """The first class that an attacker relabels, with its target; none where there is no attack."""
    changed = [(source, target) for source, target in enumerate(record.target_of) if source != target]
    return changed[:1]


def references(tested: Measured, clean: Measured, usual: str) -> NDArray[np.bool_]:
    """Which clean networks (M) say what is usual for each tested one: (N, M); never a network for itself."""
    same: NDArray[np.bool_] = tested.bases[:, None] == clean.bases[None]
    if usual == OTHER:
        return ~same
    return same & (tested.slots[:, None] != clean.slots[None]) if tested is clean else same


def judge(tested: Measured, clean: Measured, usual: str) -> NDArray[np.float64]:
    """How unusual every pair of the tested networks is, by those clean ones; by none, how far it is driven."""
    if usual == NONE:
        return np.where(np.eye(tested.rises.shape[1], dtype=bool), -np.inf, tested.rises)
    return deviations_among(tested.rises, clean.rises, references(tested, clean, usual))


def highest(deviations: NDArray[np.float64]) -> NDArray[np.float64]:
    """The scores (N,): each network's most unusual pair."""
    found: NDArray[np.float64] = deviations.max(axis=(1, 2))
    return found


def curve_of(clean: Measured, trojaned: Measured) -> dict[int, list[float]]:
    """AUROC by how many clean networks of its base say what is usual for a network, for random subsets of each size."""
    rng = np.random.default_rng(0)
    whole = [references(one, clean, SAME) for one in (clean, trojaned)]
    most = min(int(among.sum(axis=1).min()) for among in whole)
    areas: dict[int, list[float]] = {}
    for size in [*(size for size in SIZES if size < most), most]:
        for _ in range(DRAWS if size < most else 1):
            chosen = [first_of(among, rng.permutation(among.shape[1]), size) for among in whole]
            scores = [
                highest(deviations_among(one.rises, clean.rises, among))
                for one, among in zip((clean, trojaned), chosen, strict=True)
            ]
            areas.setdefault(size, []).append(fast_auroc(scores[0], scores[1]))
    return areas


def first_of(among: NDArray[np.bool_], order: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    """The first so many that each row (N, M) marks, in this order."""
    ordered = among[:, order]
    kept = np.zeros_like(among)
    kept[:, order] = ordered & (ordered.cumsum(axis=1) <= size)
    return kept


def needs(options: Options) -> list[PopulationName]:
    """Populations without which there is no table."""
    return [*options.clean, *options.trojaned]


def plan(whole: Whole) -> Iterator[Options]:
    """For every fine-tuned family whose networks were measured, where the final pool is the test."""
    for networks, images in product(whole.tuned if whole.pool == "final" else (), (0, 1, SEVERAL)):
        options = Options(prefix=networks.networks, images=images)
        if has(whole.zoo, *needs(options)) and all(options.path(name).is_file() for name in needs(options)):
            yield options


EXPERIMENT = Experiment(
    "pairs",
    "Which pair of classes is driven unusually far, for fine-tuned networks, by what clean ones allow.",
    Options,
    find,
    paper="ECCV Table 2 and Figure 7 (GTSRB, CIFAR-10, Imagenette)",
    needs=needs,
    plan=plan,
)


def for_machines(one: Side) -> Cells:
    """One side for machines."""
    found = one.found
    return {
        "pool": one.pool,
        "usual_by": one.usual,
        "clean": found.clean,
        "trojaned": found.trojaned,
        **columns(found, "detection_rate", "auroc", "cross_entropy", "true_positive_rate", "false_positive_rate"),
        "stamped_flagged": one.stamped,
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
    axes.set(xlabel="clean networks of the same base", ylabel="AUROC", ylim=(0.4, 1.02))
    save_figure(figure, path)


def as_markdown(found: Found, name: str, options: Options) -> str:
    """The page for people."""
    curve = [[size, deviation(areas)] for size, areas in found.curve.items()]
    of_each = {0: "The mean image of every class is", 1: "One test image of every class is"}
    driven = of_each.get(options.images, f"{options.images} test images of every class are")
    elsewhere = f"""
"{OTHER}" is who has clean networks of the same data set and architecture, but none of that base; they are those of the
training side."""
    how_far = "on average " if options.images else ""
    return f"""# Unusual pairs of classes, {options.networks}

{driven} covered by small patches (an eleventh of a side, 3 x 3 pixels at least) in five generic fillings, each
beside the next, and how far the log-odds of every other class rise {how_far}is noted; queries only, no gradient. From
the logarithms of these rises the medians of source and target are taken, so that classes that are near to everything
say nothing; the score is by how many standard deviations the most unusual pair lies above what clean networks have.
Only the threshold is from trojaned ones, the vaccine networks of the training side; so are the probabilities.

Who knows the base that a network was fine-tuned from can fine-tune clean ones from it himself: "{SAME}".{
        elsewhere if any(side.usual == OTHER for side in found.sides) else ""
    }
"{NONE}" is who has no other network: then the largest rise itself is the score.

What counts was chosen on the training side.

"Place" is that of the attacker's pair among all {found.sides[0].pairs:,}, 0 for the most unusual one.

{CROSS_ENTROPY}

{markdown_table(*table(found.sides))}

## How many clean networks it takes

AUROC on the final pool by clean networks of the same base; {DRAWS} random subsets of each size, mean ± standard
deviation.

![AUROC over clean networks]({name}.png)

{markdown_table(["clean networks", "AUROC"], curve)}
"""


def table(sides: Sequence[Side]) -> tuple[list[str], list[list[object]]]:
    """Head and rows of the table."""
    judged = [*RATES, "found"]
    about = ["pool", "usual by clean networks of", "clean", "trojaned"]
    rows: list[list[object]] = [
        [
            one.pool,
            one.usual,
            one.found.clean,
            one.found.trojaned,
            *rates([one.found], judged),
            one.stamped or "-",
            one.named,
            one.near,
            f"{np.median(one.places):g}",
        ]
        for one in sides
    ]
    return [*about, *judged, "stamped flagged", "pair named", f"in the first {NEAR}", "median place"], rows
