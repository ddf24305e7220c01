"""How tight are the bounds behind the signature? (ECCV 2020, section 4.3, Figure 6.)

For a class k and a pixel p, h_k^p(v) is the probability of k when p has the value v. Its largest value over the grid,
the supremum norm, is the signature of equation 1. The paper bounds the distances of the functions of neighbouring
pixels, summed over pairs p, q of a neighbourhood, by the differences and the sums of their norms.

Printed without a modulus, the lower bound sums to exactly 0 over ordered pairs; taken here is what the triangle
inequality gives, the modulus of each difference. Functions of neighbours are computed for every value of the grid on
trained networks, which a zoo, having lowest and highest answers alone, cannot say.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from onepixel.classifiers import Classifier, ModuleClassifier
from onepixel.datasets import load_dataset
from onepixel.experiments.declared import Cells, Experiment, ExperimentOptions, Laboratory, Result, Said
from onepixel.experiments.rounding import EXAMPLES, example
from onepixel.populations import Store
from onepixel.report.figures import CLEAN, INK, TROJANED, save_figure
from onepixel.report.tables import table_of

SIDE = 3
"""Pixels along the side of a neighbourhood."""

BATCH = 2048

SHOWN = 2000
"""Points of a curve in the figure at the most."""

Values = NDArray[np.float32]


@dataclass(frozen=True)
class Bounds:
    """Mean pairwise distance of h_k^p in every neighbourhood of one network, and its bounds.

    Attributes
    ----------
    name : str
    norm : array of shape (K, H, W)
        The supremum norm: the signature of equation 1.
    lower, distance, upper : array of shape (K, H - 2, W - 2)
        Means over the pairs of a neighbourhood, by its middle.
    """

    name: str
    norm: Values
    lower: Values
    distance: Values
    upper: Values

    @property
    def violations(self) -> int:
        """Neighbourhoods in which a bound fails by more than rounding."""
        slack = 1e-5
        return int(((self.lower > self.distance + slack) | (self.distance > self.upper + slack)).sum())

    @property
    def lower_share(self) -> float:
        """The lower bound as a share of the distance, both summed over neighbourhoods."""
        return float(self.lower.sum() / max(float(self.distance.sum()), 1e-12))

    @property
    def upper_factor(self) -> float:
        """The upper bound as a multiple of the distance."""
        return float(self.upper.sum() / max(float(self.distance.sum()), 1e-12))

    @property
    def correlations(self) -> tuple[float, float]:
        """How well each bound orders the neighbourhoods by distance: rank correlations of lower and upper bound."""
        lower, distance, upper = (ranks(part) for part in (self.lower, self.distance, self.upper))
        return float(np.corrcoef(lower, distance)[0, 1]), float(np.corrcoef(upper, distance)[0, 1])


def ranks(values: Values) -> NDArray[np.float64]:
    """Ranks of all numbers, mean ranks where they are equal."""
    from scipy.stats import rankdata

    found: NDArray[np.float64] = rankdata(values.ravel())
    return found


def responses(classifier: Classifier, values: int) -> Values:
    """Every h_k^p on the grid from black, (K, H, W, V)."""
    channels, height, width = classifier.input_shape
    grid = np.arange(values, dtype=np.float32) / values
    found = np.empty((classifier.classes, height * width, values), np.float32)
    each = max(1, BATCH // values)
    for start in range(0, height * width, each):
        pixels = np.arange(start, min(start + each, height * width))
        images = np.zeros((len(pixels), values, channels, height * width), np.float32)
        images[np.arange(len(pixels)), :, :, pixels] = grid[:, None]
        with torch.inference_mode():
            logits = classifier(torch.as_tensor(images.reshape(-1, channels, height, width)))
        answers = torch.softmax(logits.double(), dim=1).float().numpy()
        found[:, pixels] = answers.reshape(len(pixels), values, -1).transpose(2, 0, 1)
    return found.reshape(-1, height, width, values)


def bounds_of(name: str, functions: Values) -> Bounds:
    """Mean distances and bounds in every neighbourhood, from functions (K, H, W, V)."""
    _, height, width, _ = functions.shape
    norm = functions.max(axis=3)
    rows, columns = height - SIDE + 1, width - SIDE + 1
    places = [(slice(i, i + rows), slice(j, j + columns)) for i in range(SIDE) for j in range(SIDE)]
    lower, distance, upper = (np.zeros((len(functions), rows, columns), np.float64) for _ in range(3))
    pairs = list(itertools.combinations(places, 2))
    for (i, j), (m, n) in pairs:
        one, other = norm[:, i, j], norm[:, m, n]
        lower += np.abs(one - other)
        upper += one + other
        distance += np.abs(functions[:, i, j] - functions[:, m, n]).max(axis=3)
    mean = [(part / len(pairs)).astype(np.float32) for part in (lower, distance, upper)]
    return Bounds(name, norm, *mean)


class Options(ExperimentOptions):
    """Options of `onepixel experiment bounds`."""

    values: Annotated[int, Field(ge=2, description="Size of the value grid; the papers have 256.")] = 32
    store: Annotated[
        Path | None,
        Field(description="A store whose networks are looked at, instead of the two examples."),
        Said(metavar="FOLDER"),
    ] = None
    networks: Annotated[int, Field(ge=1, description="Networks of the store at the most."), Said(when_changed=True)] = 4


def classifiers(options: Options) -> Iterator[tuple[str, Classifier]]:
    """Yield the networks by name."""
    if options.store is None:
        for name in EXAMPLES:
            yield f"LeNet-5 on MNIST, {name}", example(name)
        return
    store = Store.open(options.store)
    dataset = load_dataset(store.recipe.dataset)
    for record in list(store.records())[: options.networks]:
        module: nn.Module = store.module(record.slot, dataset.classes)
        name = f"{store.recipe.name} {record.slot}"
        yield name, ModuleClassifier(module, dataset.input_shape, name=name)


def find(options: Options, laboratory: Laboratory) -> Result[list[Bounds]]:
    """Compute all functions, their distances and the bounds."""
    found = [bounds_of(name, responses(classifier, options.values)) for name, classifier in classifiers(options)]
    name = "bounds" if options.store is None else options.store.name
    figures = {f"{name}.png": partial(save_curves, found)}
    return Result.of(found, name, map(for_machines, found), as_markdown(options, found, name), figures=figures)


EXPERIMENT = Experiment(
    "bounds",
    "How tight are the bounds on the distances of neighbouring pixels' responses, on which the signature rests?",
    Options,
    find,
    paper="ECCV section 4.3 and Figure 6",
    plan=lambda whole: [Options()],
    reads_zoo=False,
    workers=False,
)


def for_machines(found: Bounds) -> Cells:
    """One row for machines."""
    numbers = {
        "norm_median": np.median(found.norm),
        "norm_largest": found.norm.max(),
        "distance_mean": found.distance.mean(),
        "lower_mean": found.lower.mean(),
        "upper_mean": found.upper.mean(),
        "lower_share": found.lower_share,
        "upper_factor": found.upper_factor,
        "rank_correlation_lower": found.correlations[0],
        "rank_correlation_upper": found.correlations[1],
    }
    told = {name: f"{float(number):.5g}" for name, number in numbers.items()}
    return {"network": found.name, **told, "violations": found.violations}


def save_curves(found: Sequence[Bounds], path: Path) -> None:
    """Draw the bounds around the mean distance, neighbourhoods of all classes in the order of their distance."""
    figure = Figure(figsize=(5.2 * len(found), 4.0), layout="constrained")
    grid = figure.subplots(1, len(found), squeeze=False, sharey=True)[0]
    for axes, one in zip(grid, found, strict=True):
        order = np.argsort(one.distance.ravel())
        order = order[np.linspace(0, len(order) - 1, min(len(order), SHOWN)).astype(int)]
        share = np.linspace(0, 100, len(order))
        for part, name, colour in ((one.upper, "upper bound", TROJANED), (one.lower, "lower bound", CLEAN)):
            axes.plot(share, part.ravel()[order] + 1e-6, ".", ms=2, color=colour, label=name, alpha=0.5)
        axes.plot(share, one.distance.ravel()[order] + 1e-6, color=INK, lw=1.8, label="distance")
        axes.set(title=one.name, xlabel="neighbourhoods, %, by their distance", yscale="log")
    grid[0].set_ylabel("mean over pairs of a 3 x 3 neighbourhood")
    grid[0].legend(fontsize=8, loc="lower right", markerscale=4)
    save_figure(figure, path)


def verdict(found: Sequence[Bounds]) -> str:
    """One paragraph: do the bounds hold, and do they say anything?"""
    violations = sum(one.violations for one in found)
    lowest, highest = min(one.lower_share for one in found), max(one.lower_share for one in found)
    factors = [one.upper_factor for one in found]
    lower, upper = zip(*(one.correlations for one in found), strict=True)
    holds = "hold everywhere" if not violations else f"fail in {violations} neighbourhoods"
    return (
        f"Both bounds {holds}, as the triangle inequality says they must. The lower one is of use: it is "
        f"{lowest:.0%} to {highest:.0%} of the true distance, and orders neighbourhoods by it (rank correlation "
        f"{min(lower):.2f} to {max(lower):.2f}), so that where the signature is uneven, neighbouring pixels do act "
        f"differently. The upper one is {min(factors):.0f} to {max(factors):.0f} times the distance (rank correlation "
        f"{min(upper):.2f} to {max(upper):.2f}): a high signature alone says little about its neighbourhood. So the "
        "argument supports looking at the differences of a signature, as detectors on it do, and not at its height."
    )


def as_markdown(options: Options, found: Sequence[Bounds], name: str) -> str:
    """The page for people."""
    table = table_of(
        {
            "network": one.name,
            "norm, median (largest)": f"{np.median(one.norm):.3f} ({one.norm.max():.3f})",
            "distance": f"{one.distance.mean():.4f}",
            "lower": f"{one.lower.mean():.4f}",
            "upper": f"{one.upper.mean():.4f}",
            "lower / distance": f"{one.lower_share:.0%}",
            "upper / distance": f"{one.upper_factor:.1f}",
            "rank correlation": " / ".join(f"{value:.2f}" for value in one.correlations),
            "violations": one.violations,
        }
        for one in found
    )
    return f"""# The bounds of section 4.3

ECCV 2020, section 4.3: for pixels p, q of a neighbourhood, the norms of h_k^p(v) = p(k | the image with v at p) bound
the distances of these functions from below and above, so that the signature, which is the norm, reveals "the (local)
activation patterns of the CNN model".

{verdict(found)}

![Bounds around the distance]({name}.png)

Supremum norm over {options.values} values, black default image, neighbourhoods of {SIDE} x {SIDE} pixels, every class;
means over the {SIDE**2 * (SIDE**2 - 1) // 2} pairs of a neighbourhood, then over neighbourhoods and classes. As
printed, without a modulus, the lower bound is the sum of norm(p) - norm(q) over all p and q, which is 0 whatever the
network; the table has |norm(p) - norm(q)|.

{table}
"""
