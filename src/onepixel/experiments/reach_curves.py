"""What the universal detector's score needs: images per class, where they come from, queries, the size of its patch.

A handful of networks of development pools, measured again in each setting. A row of `results/any-classifier/curves/` is
one network in one setting.
"""

import contextlib
import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import Field

from onepixel.classifiers import Classifier, as_classifier
from onepixel.datasets import load_dataset
from onepixel.detectors.metrics import auroc
from onepixel.detectors.universal import UniversalDetector
from onepixel.detectors.universal_calibration import Calibration
from onepixel.errors import BudgetError, UndecidedError, UsageError
from onepixel.experiments.declared import Experiment, Laboratory, Result
from onepixel.experiments.leaving_out import PARTS
from onepixel.experiments.option import USUAL_FILE
from onepixel.experiments.options import Growing
from onepixel.experiments.reach_records import (
    ABOUT,
    OFFERED,
    Network,
    append_row,
    as_network,
    cells_of,
    channels_of,
    network_of,
)
from onepixel.populations.catalogue import known_name
from onepixel.populations.store import Store
from onepixel.reaches import Patch, Reach, reach, sample_images
from onepixel.report.figures import save_figure
from onepixel.report.tables import table_of

NETWORKS = {
    "digits-digits_cnn-clean-development": 4,
    "digits-digits_cnn-virus-development": 3,
    "mnist-lenet5-clean": 3,
    "mnist-lenet5-virus-development": 3,
}
"""How many networks of which population are measured: the first ones that passed their thresholds."""

OTHER = {"digits": "mnist", "mnist": "digits"}
"""The data set that gives images of the same classes from another source, brought to the network's size."""

OTHERS_IMAGES = 500
"""Images of another source that are offered."""


@dataclass(frozen=True)
class Setting:
    """How a network is measured.

    Attributes
    ----------
    curve : str
        What is varied.
    value : str
        What it is set to.
    per_class : int
        Images of each class at most.
    source : {"test", "train", "other"}
        Where the images come from.
    patch : int, optional
        Side of the patch, in pixels; the detector's own unless given, and then patches alone.
    search : {"gradient", "composed"}
    budget : int, optional
        Queries at most.
    """

    curve: str
    value: str
    per_class: int = 8
    source: str = "test"
    patch: int | None = None
    search: str = "gradient"
    budget: int | None = None


PATCH = "side of the patch"
"""The curve of patches of one size alone."""

USUAL = Setting("usual", "8 test images per class")
SETTINGS = (
    USUAL,
    *(Setting("images per class", str(many), per_class=many) for many in (1, 2, 4, 16)),
    Setting("source of images", "training set", source="train"),
    Setting("source of images", "another data set", source="other"),
    *(Setting(PATCH, str(side), patch=side) for side in (1, 2, 3, 5, 8)),
    *(Setting("queries, composed", f"{most:,}", search="composed", budget=most) for most in (2_000, 5_000, 20_000)),
    Setting("queries, composed", "no limit", search="composed"),
)
"""Every setting; one that a curve shares with the usual one is measured once."""


@dataclass(frozen=True)
class Point:
    """One network in one setting.

    Attributes
    ----------
    curve, value : str
    network : Network
        With the parts that count alone; with none where there was no answer.
    """

    curve: str
    value: str
    network: Network

    def judged(self, calibrations: Mapping[str, Calibration]) -> tuple[float, bool, bool]:
        """The score, whether it is called trojaned, and whether the attacker's target is named."""
        one = self.network
        if not one.parts:
            return UNANSWERED, False, False
        calibration = calibrations[one.search]
        score, decisive = calibration.score(one.counted)
        return score, score >= calibration.threshold, one.target_of(decisive) in one.targets


UNANSWERED = -1e6
"""What stands for the score of a network that there was no answer for."""


class Options(Growing):
    """Options of `onepixel experiment reach-curves`."""

    points: Annotated[Path, Field(description="The table of measured networks and settings."), USUAL_FILE] = Path(
        "results/any-classifier/curves/networks.csv"
    )


def find(options: Options, laboratory: Laboratory) -> Result[list[Point]]:
    """Measure what is new, and lay the curves out.

    Raises
    ------
    UsageError
        If nothing was measured.
    """
    if options.stores is not None:
        measure(options.stores, options.points)
    if not options.points.exists():
        raise UsageError(f"There is no {options.points}; `onepixel experiment reach-curves --stores FOLDER` measures.")
    points = read_points(options.points)
    channels = max((channels_of(point.network.kind) for point in points), default=3)
    shipped = UniversalDetector.shipped().calibrations
    calibrations = {search: one.showing(channels) for search, one in shipped.items()}
    groups = [(setting, [point for point in points if is_of(point, setting)]) for setting in SETTINGS]
    rows = [
        Row.of(setting, own, calibrations) for setting, own in groups if {one.network.role for one in own} == {*ROLES}
    ]
    usual = [point.network for point in points if point.curve != PATCH and point.network.parts]
    one_size = sum(network.one_size for network in usual)
    figures = {"curves.png": partial(save_curves, points, calibrations)}
    return Result.of(points, "curves", map(asdict, rows), as_markdown(rows, one_size), figures=figures)


EXPERIMENT = Experiment(
    "reach-curves",
    "What the universal detector needs: images per class, their source, queries, the size of its patch.",
    Options,
    find,
    folder="any-classifier",
    records="points",
)


def is_of(point: Point, setting: Setting) -> bool:
    """Whether a point was measured in a setting."""
    return (point.curve, point.value) == (setting.curve, setting.value)


def measure(stores: Path, file: Path) -> None:
    """Measure every network in every setting that has no row yet, a row as soon as it is there."""
    rows = read_points(file) if file.exists() else []
    known = {(one.curve, one.value, one.network.population, one.network.slot) for one in rows}
    for setting in SETTINGS:
        for store, slot in chosen(stores):
            name = known_name(store.recipe)
            if (setting.curve, setting.value, name, slot) not in known:
                append_point(file, point_of(store, slot, setting))


def chosen(stores: Path) -> Iterator[tuple[Store, int]]:
    """The networks that are measured, by their stores and slots."""
    for path in sorted(stores.glob("*/recipe.toml")):
        store = Store.open(path.parent)
        many = NETWORKS.get(known_name(store.recipe), 0)
        passed = [slot for slot in store.slots if store.record_path(slot).exists()]
        for slot in [slot for slot in passed if store.record(slot).status == "passed"][:many]:
            yield store, slot


def offered(store: Store, source: str) -> NDArray[Any]:
    """Images (N, C, H, W) from where a setting wants them; another data set's are brought to the network's size."""
    dataset = load_dataset(store.recipe.dataset)
    if source != "other":
        return np.asarray((dataset.x_test if source == "test" else dataset.x_train)[:OFFERED])
    images = load_dataset(OTHER[store.recipe.dataset]).x_test[:OTHERS_IMAGES].float() / 255
    size = dataset.input_shape[1:]
    return torch.nn.functional.interpolate(images, size=size, mode="area").numpy()


def point_of(store: Store, slot: int, setting: Setting) -> Point:
    """Measure one network in one setting."""
    dataset = load_dataset(store.recipe.dataset)
    classifier = as_classifier(store.module(slot), input_shape=dataset.input_shape, outputs="logits")
    reaches: dict[str, Reach] = {}
    with contextlib.suppress(UndecidedError, BudgetError):
        reaches = reaches_in(classifier, offered(store, setting.source), setting)
    network = as_network(store, slot, reaches)
    parts = {name: value for name, value in network.parts.items() if name in PARTS}
    return Point(setting.curve, setting.value, replace(network, parts=parts, search=setting.search))


def reaches_in(classifier: Classifier, images: NDArray[Any], setting: Setting) -> dict[str, Reach]:
    """The reaches of a classifier in a setting."""
    samples = sample_images(classifier, images, per_class=setting.per_class)
    if setting.patch is None:
        detector = UniversalDetector.shipped()
        return detector.measure(classifier, samples, search=setting.search, budget=setting.budget)
    family = Patch(setting.patch)
    return {"patch": reach(classifier, samples, family=family, search=setting.search, natural=False)}


def append_point(file: Path, point: Point) -> None:
    """Write one more row; the file is made where it does not exist."""
    head = ["curve", "value", *ABOUT, *PARTS, *(f"{part} target" for part in PARTS)]
    append_row(file, {"curve": point.curve, "value": point.value, **cells_of(point.network)}, head)


def read_points(file: Path) -> list[Point]:
    """Read what `append_point` wrote."""
    with file.open(encoding="utf-8", newline="") as rows:
        table = list(csv.DictReader(rows))
    return [Point(row["curve"], row["value"], network_of(row)) for row in table]


@dataclass(frozen=True)
class Row:
    """How networks fare in one setting; those without an answer count as not flagged."""

    curve: str
    value: str
    clean: int
    trojaned: int
    unanswered: int
    queries: int
    clean_flagged: int
    trojaned_found: int
    target_named: int
    auroc: float

    @classmethod
    def of(cls, setting: Setting, points: Sequence[Point], calibrations: Mapping[str, Calibration]) -> "Row":
        """Summarise the points of a setting."""
        clean, trojaned = (
            [point.judged(calibrations) for point in points if point.network.role == role] for role in ROLES
        )
        answered = [point.network.queries for point in points if point.network.parts]
        return cls(
            setting.curve,
            setting.value,
            len(clean),
            len(trojaned),
            len(points) - len(answered),
            round(float(np.mean(answered))) if answered else 0,
            sum(flagged for _, flagged, _ in clean),
            sum(flagged for _, flagged, _ in trojaned),
            sum(named for _, _, named in trojaned),
            auroc(np.array([one[0] for one in clean]), np.array([one[0] for one in trojaned])),
        )


ROLES = ("clean", "trojaned")


def as_markdown(rows: Sequence[Row], one_size: int = 0) -> str:
    """The table for people, and how many rows were measured with patches of one size where an audit takes several."""
    older = (
        f"""
{one_size} of the measurements were made with patches of 5 x 5 alone, before audits looked for several sizes.
"""
        if one_size
        else ""
    )
    lines = table_of(
        {
            "varied": row.curve,
            "set to": row.value,
            "queries": f"{row.queries:,}",
            "AUROC": f"{row.auroc:.3f}",
            "trojaned found": f"{row.trojaned_found} of {row.trojaned}",
            "target named": f"{row.target_named} of {row.trojaned}",
            "clean flagged": f"{row.clean_flagged} of {row.clean}",
            "no answer": row.unanswered,
        }
        for row in rows
    )
    return f"""# What the universal detector needs

Networks of development pools, measured again in each setting and judged by the shipped calibration, which was made with
the usual one (eight test images of each class, the detector's own patch, no limit of queries) and partly from these
networks: a look at what matters, no test. Labels need no curve: those given beside images are compared with the
classifier's answers and never used. One-to-one attackers: a network's backdoor drives one class to one other.
{older}
{lines}

![Scores in every setting](curves.png)
"""


def save_curves(points: Sequence[Point], calibrations: Mapping[str, Calibration], path: str | Path) -> None:
    """Draw the scores of all clean and all trojaned networks in every setting, a panel for each curve."""
    curves = [name for name in dict.fromkeys(setting.curve for setting in SETTINGS) if name != USUAL.curve]
    figure = Figure(figsize=(3.2 * len(curves), 3.4), layout="constrained")
    panels = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
    for panel, curve in zip(panels, curves, strict=True):
        values = [one.value for one in SETTINGS if one.curve == curve]
        shown = {value: [one for one in points if (one.curve, one.value) == (curve, value)] for value in values}
        if not curve.startswith("queries"):
            shown = {"usual": [one for one in points if one.curve == USUAL.curve], **shown}
        for role, colour, shift in zip(ROLES, ("#4477aa", "#cc3311"), (-0.12, 0.12), strict=True):
            for place, group in enumerate(shown.values()):
                own = [one for one in group if one.network.role == role and one.network.parts]
                scores = [one.judged(calibrations)[0] for one in own]
                panel.plot([place + shift] * len(scores), scores, "o", color=colour, alpha=0.7, markersize=4)
        searches = {one.network.search for group in shown.values() for one in group}
        for search in searches & set(calibrations):
            panel.axhline(calibrations[search].threshold, color="#888888", linewidth=1, linestyle="--")
        panel.set_xticks(range(len(shown)), list(shown), rotation=30, ha="right", fontsize=8)
        panel.set_title(curve, fontsize=10)
    panels[0].set_ylabel("score (blue: clean, red: trojaned)")
    save_figure(figure, path)
