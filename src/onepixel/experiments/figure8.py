"""Signatures of classifiers that are no networks, beside a LeNet-5's (ICLR 2020, appendix A.2, Figure 8).

The paper shows a random forest, an SVM, a decision tree and AdaBoost over decision trees on MNIST and says that the
last two "share great similarity". It leaves open how the models were set and how likeness is measured. Chosen here:
scikit-learn's defaults but for what `estimators` says, a random part of the training set, and Pearson's correlation
over all classes and pixels; beside it the same after each class's mean is taken off (likeness of the patterns within
the channels), and the correlation of two models of one kind trained on different images, as a yardstick.
"""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import AdaBoostClassifier, RandomForestClassifier
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import onepixel
from onepixel.architectures import architecture
from onepixel.classifiers import Classifier
from onepixel.datasets import Dataset, load_dataset
from onepixel.errors import UsageError
from onepixel.experiments.declared import Experiment, Laboratory, Result
from onepixel.experiments.judging import grouped
from onepixel.experiments.options import Seeded
from onepixel.populations.recipe import TrainingRecipe
from onepixel.populations.training import predict, train
from onepixel.report.signature import save_rows
from onepixel.report.tables import markdown_table
from onepixel.signatures import DEFINITIONS, Signature
from onepixel.trojan import Extras

TREE, BOOSTED, BOOSTED_FULL = "decision tree", "AdaBoost (depth 8)", "AdaBoost (full trees)"
REPEATED = (TREE, BOOSTED, BOOSTED_FULL)
"""What is trained a second time, on other images."""

NETWORKS = {(1, 28, 28): "lenet5", (1, 8, 8): "digits_cnn"}


@dataclass(frozen=True)
class Fitted:
    """One trained classifier, its accuracy on the test part, its signature, and the seconds that both took together."""

    accuracy: float
    signature: Signature
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class Likeness:
    """How alike two signatures are under one definition: correlations in [-1, 1], NaN where a signature is constant.

    Over all classes and pixels, and within classes: the same after each class's mean is taken off.
    """

    first: str
    second: str
    definition: str
    correlation: float
    within_class: float


def estimators(features: NDArray[np.float32], seed: int) -> dict[str, Any]:
    """The paper's four kinds of classifiers, unfitted, with what they are set to.

    The SVM has a Gaussian kernel with scikit-learn's default width, its probabilities from a sigmoid fitted by
    cross-validation; the kernel is computed as one matrix product, since libsvm's own takes minutes here. AdaBoost
    comes over trees of depth 8 and over full-grown ones: those make no mistake on their training set, so boosting
    stops after the first.
    """
    kernel = partial(rbf_kernel, gamma=1 / (features.shape[1] * features.var()))
    return {
        "random forest": RandomForestClassifier(100, random_state=seed),
        "SVM": CalibratedClassifierCV(SVC(kernel=kernel), ensemble=False),
        TREE: DecisionTreeClassifier(random_state=seed),
        BOOSTED: AdaBoostClassifier(DecisionTreeClassifier(max_depth=8), n_estimators=50, random_state=seed),
        BOOSTED_FULL: AdaBoostClassifier(DecisionTreeClassifier(), n_estimators=50, random_state=seed),
    }


def correlation(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Pearson's correlation over all numbers of two arrays; NaN where one is constant."""
    constant = min(np.ptp(first), np.ptp(second)) < 1e-12
    return float("nan") if constant else float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def likeness(first: str, one: Signature, second: str, other: Signature) -> list[Likeness]:
    """Compare two signatures under every definition."""
    rows = []
    for definition in DEFINITIONS:
        a, b = one.values(definition).astype(float), other.values(definition).astype(float)
        inner_a, inner_b = (v - v.mean(axis=(1, 2), keepdims=True) for v in (a, b))
        rows.append(Likeness(first, second, definition, correlation(a, b), correlation(inner_a, inner_b)))
    return rows


def flat(images: torch.Tensor) -> NDArray[np.float32]:
    """Images (N, C, H, W) uint8 as rows of float32 in [0, 1]."""
    rows: NDArray[np.float32] = images.flatten(1).numpy().astype(np.float32) / np.float32(255)
    return rows


def signed(
    accuracy: float, classifier: Classifier, values: int, progress: bool, start: float, note: str = ""
) -> Fitted:
    """A classifier that was trained from `start` on, with its signature, in batches large enough for scikit-learn."""
    signature = onepixel.signature(classifier, values=values, batch_size=2048, progress=progress)
    return Fitted(accuracy, signature, time.perf_counter() - start, note)


def fit_estimator(estimator: Any, dataset: Dataset, chosen: NDArray[Any], values: int, progress: bool) -> Fitted:
    """Train an estimator on the chosen training images and compute its signature."""
    start = time.perf_counter()
    estimator.fit(flat(dataset.x_train[chosen]), dataset.y_train[chosen].numpy())
    accuracy = float(estimator.score(flat(dataset.x_test), dataset.y_test.numpy()))
    classifier = onepixel.as_classifier(estimator, input_shape=dataset.input_shape)
    note = f"{len(estimator.estimators_)} tree(s)" if isinstance(estimator, AdaBoostClassifier) else ""
    return signed(accuracy, classifier, values, progress, start, note)


def fit_network(name: str, dataset: Dataset, seed: int, values: int, progress: bool) -> Fitted:
    """Train the network on the whole training set, as populations do, and compute its signature."""
    start = time.perf_counter()
    no_extras = Extras(dataset.x_train[:0].numpy(), dataset.y_train[:0].numpy())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = architecture(name).build(dataset.classes)
        train(module, dataset, no_extras, TrainingRecipe(), torch.Generator().manual_seed(seed))
    accuracy = float((predict(module, dataset.x_test) == dataset.y_test).double().mean())
    classifier = onepixel.as_classifier(module, input_shape=dataset.input_shape, name=name)
    return signed(accuracy, classifier, values, progress, start)


class Options(Seeded):
    """Options of `onepixel experiment figure8`."""

    dataset: Annotated[str, Field(description="mnist, or digits, which needs no download.")] = "mnist"
    images: Annotated[
        int,
        Field(
            ge=10, description="Training images for the estimators; twice as many must be there. The network gets all."
        ),
    ] = 3000
    values: Annotated[
        int, Field(ge=2, description="Size of the value grid; the papers' 256 takes the SVM minutes.")
    ] = 64


def find(options: Options, laboratory: Laboratory) -> Result[list[Likeness]]:
    """Train the classifiers and compare their signatures.

    Found are every pair of classifiers under every definition; then each repeated kind with itself on other images.

    Raises
    ------
    UsageError
        If the data set is too small, or there is no network for its images.
    """
    seed, images, values, progress = options.seed, options.images, options.values, laboratory.progress
    data = load_dataset(options.dataset)
    if data.input_shape not in NETWORKS:
        raise UsageError(f"Figure 8 needs images of shape {' or '.join(map(str, NETWORKS))}, not {data.input_shape}.")
    if 2 * images > len(data.x_train):
        raise UsageError(
            f"{options.dataset} has {len(data.x_train)} training images, too few for two sets of {images}."
        )
    first, second = np.random.default_rng(seed).permutation(len(data.x_train))[: 2 * images].reshape(2, images)
    network = NETWORKS[data.input_shape]
    fitted = {
        name: fit_estimator(estimator, data, first, values, progress)
        for name, estimator in estimators(flat(data.x_train[first]), seed).items()
    }
    fitted[network] = fit_network(network, data, seed, values, progress)
    again = estimators(flat(data.x_train[second]), seed + 1)
    repeated = {name: fit_estimator(again[name], data, second, values, progress) for name in REPEATED}
    signatures = {name: one.signature for name, one in fitted.items()}
    rows = [
        row
        for one, other in itertools.combinations(signatures, 2)
        for row in likeness(one, signatures[one], other, signatures[other])
    ]
    for name in REPEATED:
        rows += likeness(name, signatures[name], f"{name}, other images", repeated[name].signature)
    return Result(
        rows,
        "similarity",
        ["first", "second", "definition", "correlation", "within_class"],
        [[r.first, r.second, r.definition, f"{r.correlation:.4f}", f"{r.within_class:.4f}"] for r in rows],
        as_markdown(fitted, rows, options),
        page="README.md",
        figures={"figure8.png": partial(save_rows, signatures)},
    )


EXPERIMENT = Experiment(
    "figure8",
    "Signatures of classifiers that are no networks (ICLR appendix A.2, Figure 8).",
    Options,
    find,
    paper="ICLR Figure 8",
    reads_zoo=False,
    workers=False,
)


def number(value: float) -> str:
    """A correlation for people; a dash where it is not defined."""
    return "-" if np.isnan(value) else f"{value:.2f}"


def matrix(names: list[str], rows: list[Likeness], definition: str, value: Callable[[Likeness], float]) -> str:
    """All pairs of classifiers under one definition."""
    found = {(row.first, row.second): number(value(row)) for row in rows if row.definition == definition}
    lines = [[one, *(found.get((one, other)) or found.get((other, one)) or "1" for other in names)] for one in names]
    return markdown_table(["", *names], lines)


def answer(rows: list[Likeness]) -> str:
    """The paper's claim in one sentence per pair, under `change`, where what is merely probable does not count."""
    found = {(row.first, row.second): row.correlation for row in rows if row.definition == "change"}

    def alike(first: str, second: str) -> str:
        value = found[first, second]
        degree = "much alike" if value >= 0.7 else "somewhat alike" if value >= 0.4 else "hardly alike"
        return f"{degree} ({number(value)})"

    return (
        f"Under `change` the tree and AdaBoost over trees of depth 8 are {alike(TREE, BOOSTED)}; "
        f"the tree and AdaBoost over full-grown trees, which stops after one of them, are {alike(TREE, BOOSTED_FULL)}. "
        f"Two decision trees trained on different images are {alike(TREE, f'{TREE}, other images')}, "
        f"two AdaBoosts of depth 8 {alike(BOOSTED, f'{BOOSTED}, other images')}."
    )


def as_markdown(fitted: dict[str, Fitted], rows: list[Likeness], options: Options) -> str:
    """The page for people: what was done, the figure, the answer in numbers."""
    names = list(fitted)
    models = []
    for name, one in fitted.items():
        largest = np.abs(one.signature.values("change")).max()
        cost = [f"{one.signature.queries:,}", f"{one.seconds:.0f}"]
        models.append([name, f"{one.accuracy:.1%}", f"{largest:.2g}", *cost, one.note])
    pairs = [row for row in rows if row.first in REPEATED and row.second.split(",")[0] in REPEATED]
    claims = [
        [one, other, *(f"{number(row.correlation)} / {number(row.within_class)}" for row in found)]
        for (one, other), found in grouped(pairs, lambda row: (row.first, row.second)).items()
    ]
    return f"""# Figure 8: signatures of classifiers that are no networks

ICLR 2020 submission, appendix A.2: signatures of a random forest, an SVM, a decision tree and AdaBoost over decision
trees on MNIST; "since we are using Decision Tree model as weak learners for AdaBoost, signatures generated by Decision
Tree and AdaBoost share great similarity". The paper gives no number.

![Signatures](figure8.png)

{markdown_table(["classifier", "test accuracy", "largest change of p", "queries", "seconds", "note"], models)}

The estimators saw {options.images:,} training images, the network all. V = {options.values}, black default
image. Every engine used is exact.

## Is the tree's signature like AdaBoost's?

{answer(rows)}

Pearson's correlation over all classes and pixels / the same after each class's mean is taken off. A dash: one of the
two signatures is constant. "Other images" is the yardstick: the same kind of model, trained on other images with
another seed.

{markdown_table(["", "", *DEFINITIONS], claims)}

## All pairs under `change`

{matrix(names, rows, "change", lambda row: row.correlation)}

Every definition is in `similarity.csv`.
"""
