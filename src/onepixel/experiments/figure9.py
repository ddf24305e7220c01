"""A network's signature over its training (ICLR 2020, appendix A.6, Figure 9).

The paper shows class 0 of one ResNet-50 on CIFAR-10 at its 20th, 60th and 150th epoch and says that signatures get more
"ragged" and that they converge. Here a smaller ResNet is trained, several times, and both are numbers.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

import onepixel
from onepixel.architectures import architecture
from onepixel.datasets import Dataset, load_dataset
from onepixel.errors import UsageError
from onepixel.experiments.declared import Cells, Experiment, Laboratory, Result
from onepixel.experiments.figure8 import correlation
from onepixel.experiments.options import Seeded
from onepixel.populations.recipe import TrainingRecipe
from onepixel.populations.training import as_input, fast_floats, optimize, phases, predict
from onepixel.report.figures import save_figure
from onepixel.report.signature import save_rows
from onepixel.report.tables import markdown_table
from onepixel.signatures import Signature
from onepixel.threads import one_thread

NETWORKS = {(1, 28, 28): "resnet8", (3, 32, 32): "resnet20", (1, 8, 8): "digits_cnn"}
"""What is trained on images of a shape."""

DEFINITIONS = ("max", "change", "log_odds")

TEST_IMAGES = 2000
"""Images that accuracy is measured on."""


@dataclass(frozen=True)
class Point:
    """One network at one point of its training.

    Attributes
    ----------
    seed : int
    epochs : float
        Passes over the training set so far.
    accuracy : float
    signature : Signature
    """

    seed: int
    epochs: float
    accuracy: float
    signature: Signature


@dataclass(frozen=True)
class Job:
    """One training."""

    dataset: str
    points: tuple[float, ...]
    values: int
    seed: int


@dataclass(frozen=True)
class Reading:
    """What a signature is like at one point of one training, under one definition.

    Attributes
    ----------
    ruggedness : float
        Mean absolute difference of neighbouring pixels in standard deviations of the signature: how ragged it is,
        whatever its scale.
    roughness : float
        The same without the division: how much neighbouring pixels differ.
    to_last, to_other : float
        Correlation with the same network's signature at the end, and, mean, with other networks' at the same point.
    """

    seed: int
    epochs: float
    accuracy: float
    definition: str
    ruggedness: float
    roughness: float
    to_last: float
    to_other: float


def roughness(values: NDArray[np.float64]) -> float:
    """Mean absolute difference of neighbouring pixels of a signature (K, H, W)."""
    across, down = np.abs(np.diff(values, axis=2)), np.abs(np.diff(values, axis=1))
    return float((across.sum() + down.sum()) / (across.size + down.size))


def ruggedness(values: NDArray[np.float64]) -> float:
    """`roughness` in standard deviations over pixels, each class's mean taken off; 0 of what is constant."""
    deviation = float((values - values.mean(axis=(1, 2), keepdims=True)).std())
    return roughness(values) / deviation if deviation > 1e-12 else 0.0


def course(job: Job) -> list[Point]:
    """Train one network and sign it at every point."""
    dataset = load_dataset(job.dataset)
    recipe = TrainingRecipe(epochs=job.points[-1], batch_size=64, learning_rate=0.01)
    generator = torch.Generator().manual_seed(job.seed)
    with torch.random.fork_rng(devices=[]), one_thread(), fast_floats():
        torch.manual_seed(job.seed)
        module = architecture(NETWORKS[dataset.input_shape]).build(dataset.classes)
        module.to(memory_format=torch.channels_last).train()
        (phase,) = phases(recipe, len(dataset.x_train), 0, generator)
        stops = {max(1, round(phase.steps * point / job.points[-1])): point for point in job.points}
        kept: list[tuple[float, nn.Module]] = []

        def losses() -> Iterator[Tensor]:
            for step, numbers in enumerate(phase.batches):
                if step in stops:
                    kept.append((stops[step], deepcopy(module)))
                answers = module(as_input(dataset.x_train[numbers]))
                yield functional.cross_entropy(answers, dataset.y_train[numbers])

        optimize(module.parameters(), phase, recipe, losses())
        kept.append((job.points[-1], module))
        return [point_of(job, dataset, epochs, one) for epochs, one in kept]


def point_of(job: Job, dataset: Dataset, epochs: float, module: nn.Module) -> Point:
    """Test and sign a network."""
    module.to(memory_format=torch.contiguous_format).eval()
    images, labels = dataset.x_test[:TEST_IMAGES], dataset.y_test[:TEST_IMAGES]
    accuracy = float((predict(module, images) == labels).double().mean())
    classifier = onepixel.as_classifier(module, input_shape=dataset.input_shape, name=f"{epochs:g} epochs")
    return Point(job.seed, epochs, accuracy, onepixel.signature(classifier, values=job.values))


def readings(points: Sequence[Point]) -> list[Reading]:
    """What all signatures are like."""
    last = max(point.epochs for point in points)
    found = []
    for point in points:
        for definition in DEFINITIONS:
            values = point.signature.values(definition).astype(float)
            end = next(p for p in points if (p.seed, p.epochs) == (point.seed, last)).signature
            others = [p.signature for p in points if p.epochs == point.epochs and p.seed != point.seed]
            to_others = [alike(values, other.values(definition)) for other in others]
            found.append(
                Reading(
                    point.seed,
                    point.epochs,
                    point.accuracy,
                    definition,
                    ruggedness(values),
                    roughness(values),
                    alike(values, end.values(definition)),
                    float(np.mean(to_others)) if to_others else float("nan"),
                )
            )
    return found


def alike(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Correlation over classes and pixels, each class's mean taken off."""
    first, second = (v - v.mean(axis=(1, 2), keepdims=True) for v in (one.astype(float), other.astype(float)))
    return correlation(first, second)


class Options(Seeded):
    """Options of `onepixel experiment figure9`."""

    dataset: Annotated[str, Field(description="mnist, fashion_mnist, cifar10, or digits, which needs no download.")] = (
        "mnist"
    )
    points: Annotated[
        tuple[float, ...], Field(description="Epochs after which the signature is computed; may be repeated.")
    ] = (0.05, 0.2, 0.5, 1.0, 2.0)
    networks: Annotated[int, Field(ge=1, description="Trainings, each from another seed.")] = 3
    values: Annotated[int, Field(ge=2, description="Size of the value grid; the papers have 256.")] = 32


def find(options: Options, laboratory: Laboratory) -> Result[list[Reading]]:
    """Train the networks and measure their signatures on the way."""
    points = tuple(sorted(options.points))
    shape = load_dataset(options.dataset).input_shape
    if shape not in NETWORKS:
        raise UsageError(f"Figure 9 needs images of shape {' or '.join(map(str, NETWORKS))}, not {shape}.")
    if len(points) < 2 or points[0] <= 0:
        raise UsageError("Figure 9 needs two or more points of a training, after its beginning.")
    jobs = [
        Job(options.dataset, points, options.values, seed)
        for seed in range(options.seed, options.seed + options.networks)
    ]
    found = [point for one in laboratory.each(course, jobs, "trainings", "networks") for point in one]
    measured = readings(found)
    first = {f"{point.epochs:g} epochs": point.signature for point in found if point.seed == options.seed}
    name = f"figure9-{options.dataset}"
    figures = {
        f"{name}.png": partial(save_rows, first, definition="log_odds"),
        f"{name}-course.png": partial(save_course, measured),
    }
    text = as_markdown(options, measured, NETWORKS[shape])
    return Result.of(measured, name, map(for_machines, measured), text, figures=figures)


EXPERIMENT = Experiment(
    "figure9",
    "Do signatures get more ragged, and converge, while a network is trained?",
    Options,
    find,
    paper="ICLR Figure 9; appendix A.6",
    reads_zoo=False,
)


def for_machines(one: Reading) -> Cells:
    """One row for machines."""
    return {
        "seed": one.seed,
        "epochs": str(one.epochs),
        "accuracy": one.accuracy,
        "definition": one.definition,
        "ruggedness": f"{one.ruggedness:.5g}",
        "roughness": f"{one.roughness:.5g}",
        "correlation_with_the_last": f"{one.to_last:.5g}",
        "correlation_with_other_networks": f"{one.to_other:.5g}",
    }


def save_course(found: Sequence[Reading], path: Path) -> None:
    """Draw ruggedness, and likeness to the last signature, over epochs, a line per network."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for definition, colour in zip(DEFINITIONS, ("#0072B2", "#E69F00", "#009E73"), strict=True):
        for seed in dict.fromkeys(one.seed for one in found):
            line = [one for one in found if (one.seed, one.definition) == (seed, definition)]
            epochs = [one.epochs for one in line]
            label = definition if seed == found[0].seed else None
            left.plot(epochs, [one.ruggedness for one in line], "o-", ms=4, color=colour, label=label)
            right.plot(epochs, [one.to_last for one in line], "o-", ms=4, color=colour)
    left.set(xlabel="epochs", ylabel="ruggedness", xscale="log")
    right.set(xlabel="epochs", ylabel="correlation with the last signature", xscale="log")
    left.legend(fontsize=8)
    save_figure(figure, path)


def change_of(found: Sequence[Reading], definition: str, what: str) -> NDArray[np.float64]:
    """How much a number is higher at the last than at the first point, by network."""
    first, last = (f(one.epochs for one in found) for f in (min, max))
    ends = {
        (one.seed, one.epochs): getattr(one, what)
        for one in found
        if one.definition == definition and one.epochs in (first, last)
    }
    return np.array([ends[seed, last] - ends[seed, first] for seed in dict.fromkeys(one.seed for one in found)])


def verdict(found: Sequence[Reading]) -> str:
    """One paragraph: more ragged? converging?"""
    sentences = []
    for definition in DEFINITIONS:
        rugged = change_of(found, definition, "ruggedness")
        rough = change_of(found, definition, "roughness")
        word = "rises" if (rugged > 0).all() else "falls" if (rugged < 0).all() else "goes both ways"
        sentences.append(
            f"under `{definition}` ruggedness {word} in {len(rugged)} training(s) (by {rugged.mean():+.2f}; without "
            f"the division by the deviation {rough.mean():+.3g})"
        )
    epochs = sorted({one.epochs for one in found})
    steps = [np.mean([o.to_last for o in found if o.epochs == e and o.definition == "log_odds"]) for e in epochs[:-1]]
    likeness = " to ".join(f"{value:.2f}" for value in (steps[0], steps[-1]))
    word = "converges" if steps[-1] > steps[0] else "does not converge"
    said = (
        f"From the first to the last point, {'; '.join(sentences)}. The signature {word} within a training: its "
        f"correlation with the last one goes from {likeness} at the last point but one, under `log_odds`."
    )
    others = [[o.to_other for o in found if o.epochs == e and o.definition == "log_odds"] for e in epochs]
    if np.isnan(others).any():
        return f"{said} One training says nothing of others."
    together = " to ".join(f"{np.mean(values):.2f}" for values in (others[0], others[-1]))
    return f"{said} Towards other networks' signatures the mean correlation goes from {together}."


def as_markdown(options: Options, found: Sequence[Reading], network: str) -> str:
    """The page for people."""
    lines = []
    for definition in DEFINITIONS:
        for epochs in dict.fromkeys(one.epochs for one in found):
            group = [one for one in found if (one.definition, one.epochs) == (definition, epochs)]
            cells = [
                "-" if np.isnan(values).any() else f"{np.mean(values):.3g} ({min(values):.3g} to {max(values):.3g})"
                for what in ("ruggedness", "roughness", "to_last", "to_other")
                for values in [[getattr(one, what) for one in group]]
            ]
            accuracy = np.mean([one.accuracy for one in group])
            lines.append([f"`{definition}`", f"{epochs:g}", f"{accuracy:.1%}", *cells])
    head = ["definition", "epochs", "accuracy", "ruggedness", "roughness", "likeness to the last", "to other networks"]
    name = f"figure9-{options.dataset}"
    return f"""# Figure 9: a signature over training, {network} on {options.dataset}

ICLR 2020, appendix A.6: "with more epochs trained, and higher validation accuracy, the corresponding signature shows
stronger feature of the model architecture. Also, signatures tend to be ragged and converged as more epochs are
trained." One ResNet-50 on CIFAR-10, class 0, at the 20th, 60th and 150th epoch; no number.

{verdict(found)}

![Signatures of one training]({name}.png)

![Ruggedness and convergence]({name}-course.png)

{options.networks} training(s) of {max(options.points):g} epochs under a one-cycle schedule, each signed at
{len(options.points)} points, from black on {options.values} intensities. Ruggedness is the mean absolute difference of
neighbouring pixels in standard deviations of the signature, roughness the same without that division. Likeness is
Pearson's correlation over classes and pixels, each class's mean taken off. Means, in brackets the range over trainings;
accuracy on {TEST_IMAGES:,} test images at the most.

{markdown_table(head, lines)}
"""
