"""What the adaptive engine costs and misses, against an exact engine; writes results/adaptive.{csv,md}.

python benchmarks/adaptive.py                  # every row
python benchmarks/adaptive.py --quick          # a quarter of the pixels, one network of each kind
python benchmarks/adaptive.py --only resnet8   # rows whose name contains this
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

import onepixel
from machine import provenance
from onepixel.classifiers import Classifier, EstimatorClassifier
from onepixel.files import write_text
from onepixel.signatures.adaptive import CHECKS
from row_files import write_rows
from trained import trained_network

Images = NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """One classifier: what adaptive cost and missed; errors are in probability, over classes and pixels."""

    classifier: str
    about: str
    pixels: int
    queries: int
    queries_per_pixel: float
    largest_error: float
    mean_error: float
    largest_log_odds_error: float
    pixels_off_by_more_than_0_001: float
    cells_at_most: float
    seconds: float


def spike(images: Images) -> NDArray[np.float64]:
    """Two classes; class 0 leaps from 0.1 to 0.9 at the one value 100 / 256, wherever it occurs."""
    first = np.where((np.abs(images - np.float32(100 / 256)) < 1e-4).any(axis=(1, 2, 3)), 0.9, 0.1)
    return np.stack([first, 1 - first], axis=1)


def network(name: str, *, trojaned: bool, seed: int) -> tuple[str, Classifier]:
    """What a network for 28 x 28 images is, and the network."""
    trained = trained_network(name, trojaned=trojaned, seed=seed)
    return trained.weights, onepixel.as_classifier(trained.module, input_shape=(1, 28, 28))


def digits_estimator(estimator: DecisionTreeClassifier | RandomForestClassifier) -> tuple[str, Classifier]:
    """What an estimator is, and the estimator after it has seen scikit-learn's digits."""
    digits = load_digits()
    return "scikit-learn's digits", EstimatorClassifier(estimator.fit(digits.data, digits.target), (1, 8, 8), scale=16)


def subjects(seeds: int) -> Iterator[tuple[str, Callable[[], tuple[str, Classifier]]]]:
    """Every row's name, and a function that says what the classifier is and makes it."""
    for name in ("lenet5", "resnet8"):
        for seed in range(100, 100 + seeds):
            for trojaned in (False, True):
                kind = "trojaned" if trojaned else "clean"
                yield f"{name}, {kind}, seed {seed}", partial(network, name, trojaned=trojaned, seed=seed)
    yield "decision tree", lambda: digits_estimator(DecisionTreeClassifier(random_state=0))
    yield "random forest", lambda: digits_estimator(RandomForestClassifier(100, random_state=0))
    spiky = "0.1, but 0.9 at the value 100/256"
    yield "one narrow spike", lambda: (spiky, onepixel.as_classifier(spike, input_shape=(1, 28, 28)))


def measure(name: str, about: str, classifier: Classifier, stride: int) -> Row:
    """Run both engines on one classifier."""
    pixels = stride if classifier.input_shape[1] > 8 else 1
    exact = onepixel.signature(classifier, pixels=pixels, engine="auto")
    start = time.perf_counter()
    found = onepixel.signature(classifier, pixels=pixels, engine="adaptive")
    seconds = time.perf_counter() - start
    seen = exact.visited
    pairs = [(found.low[:, seen], exact.low[:, seen]), (found.high[:, seen], exact.high[:, seen])]
    error = np.maximum(*(np.abs(expit(ours) - expit(true)) for ours, true in pairs))
    odds = np.maximum(*(np.abs(ours - true) for ours, true in pairs))
    visited = int(seen.sum())
    return Row(
        classifier=name,
        about=about,
        pixels=visited,
        queries=found.queries,
        queries_per_pixel=found.queries / visited,
        largest_error=float(error.max()),
        mean_error=float(error.mean()),
        largest_log_odds_error=float(odds.max()),
        pixels_off_by_more_than_0_001=float((error.max(axis=0) > 1e-3).mean()),
        cells_at_most=found.details["error_estimate"]["cells_at_most"],
        seconds=seconds,
    )


COLUMNS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("classifier", lambda row: row.classifier),
    ("what it is", lambda row: row.about),
    ("pixels", lambda row: f"{row.pixels}"),
    ("queries per pixel", lambda row: f"{row.queries_per_pixel:.1f}"),
    ("largest error", lambda row: f"{row.largest_error:.1e}"),
    ("mean error", lambda row: f"{row.mean_error:.1e}"),
    ("largest error in log-odds", lambda row: f"{row.largest_log_odds_error:.2g}"),
    ("pixels off by more than 0.001", lambda row: f"{row.pixels_off_by_more_than_0_001:.1%}"),
    ("said: cells that move, at most", lambda row: f"{row.cells_at_most:.2%}"),
)


def markdown(rows: list[Row]) -> str:
    """The table, and everything that says how it was made."""
    lines = [
        "# The adaptive engine against an exact one",
        "",
        f"V = 256, black default image; errors in probability; {CHECKS} random checks are among the queries.",
        "",
        "| " + " | ".join(heading for heading, _ in COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
        *("| " + " | ".join(text(row) for _, text in COLUMNS) + " |" for row in rows),
        "",
        *provenance(),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="every second row and column, one seed")
    parser.add_argument("--seeds", type=int, default=2, help="networks of each kind")
    parser.add_argument("--stride", type=int, default=1, help="visit every s-th row and column")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--output", type=Path, default=Path("results"))
    options = parser.parse_args()
    seeds, stride = (1, 2) if options.quick else (options.seeds, options.stride)
    rows: list[Row] = []
    options.output.mkdir(parents=True, exist_ok=True)
    for name, make in subjects(seeds):
        if options.only in name:
            rows.append(measure(name, *make(), stride))
            print(rows[-1], file=sys.stderr, flush=True)
            write_rows(options.output / "adaptive.csv", rows)
            write_text(options.output / "adaptive.md", markdown(rows))


if __name__ == "__main__":
    torch.set_flush_denormal(True)
    main()
