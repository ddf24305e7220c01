"""Pictures of signatures (ECCV 2020, Fig. 4; ICLR 2020, Fig. 5 and 8): channels side by side."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from onepixel.errors import UsageError
from onepixel.pictures import PICTURES, Picture
from onepixel.report.figures import DPI, INK, UNVISITED, save_figure, titled
from onepixel.report.scale import SCALE_LABELS, Array, Scale, colour_bar, colour_scale
from onepixel.signatures import Signature

MOST_CHANNELS = 64
"""Above this many classes a picture shows those with the largest deviations only."""


def shown_channels(values: Array, most: int = MOST_CHANNELS, keep: Sequence[int] = ()) -> list[int]:
    """Which classes a picture has room for, in order: all, or `keep` and those that deviate most from their median.

    Parameters
    ----------
    values : array of shape (K, H, W)
    most : int
    keep : sequence of int
        Classes shown in any case.
    """
    if len(values) <= most:
        return list(range(len(values)))
    flat = values.reshape(len(values), -1)
    deviation = np.nanmax(np.abs(flat - np.nanmedian(flat, axis=1, keepdims=True)), axis=1)
    deviation[list(keep)] = np.inf
    return sorted(np.argsort(-deviation, kind="stable")[:most].tolist())


def draw_channel(axes: Any, channel: Array, scale: Scale) -> None:
    """One channel (H, W) as an image, row 0 on top; pixels that were not visited are grey and hatched."""
    if not np.isfinite(channel).all():
        axes.patch.set(facecolor=UNVISITED, hatch="/////", edgecolor="#8f8f8f", linewidth=0)
    axes.imshow(
        np.ma.masked_invalid(channel),
        cmap=scale.colours,
        vmin=scale.low,
        vmax=scale.high,
        interpolation_stage="rgba",
    )
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color="#bbbbbb", linewidth=0.6)


def mark_channel(axes: Any, pixel: tuple[int, int], colour: str) -> None:
    """Frame the most suspicious channel and ring its most suspicious pixel."""
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=2.5)
    row, column = pixel
    halo = [withStroke(linewidth=4, foreground="white")]
    axes.plot(column, row, "o", markersize=11, markerfacecolor="none", markeredgecolor=INK, path_effects=halo)


def best_columns(count: int, aspect: float, width: float, height: float, label: float = 0.2) -> int:
    """How many columns make `count` cells of an aspect (W / H) largest on an area, all lengths in inches."""

    def cell_width(columns: int) -> float:
        rows = math.ceil(count / columns)
        return min(width / columns, (height / rows - label) * aspect)

    return max(range(1, count + 1), key=cell_width)


def draw_channels(figure: Any, values: Array, classes: Sequence[int], scale: Scale, columns: int) -> dict[int, Any]:
    """A grid of channels with their class labels on a figure or subfigure; returns the axes of every class."""
    rows = math.ceil(len(classes) / columns)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    size = 9 if len(classes) <= 20 else 7
    for axes, k in zip(grid, classes, strict=False):
        draw_channel(axes, values[k], scale)
        axes.set_title(f"class {k}", fontsize=size, pad=3, color=INK)
    for axes in grid[len(classes) :]:
        axes.set_axis_off()
    return dict(zip(classes, grid, strict=False))


def save_channels(signature: Signature, path: str | Path, definition: str = "change") -> None:
    """Draw all K channels side by side on one colour scale (ECCV 2020, Fig. 4).

    Parameters
    ----------
    signature : Signature
    path : str or Path
        Its ending says the format: .png, .svg, .pdf.
    definition : str
        A key of `onepixel.signatures.DEFINITIONS`.

    Raises
    ------
    UsageError
        If there is no such definition or picture format, or the disk does not take the file.
    """
    values = signature.values(definition)
    classes = shown_channels(values)
    _, height, width = values.shape
    columns = best_columns(len(classes), width / height, width=12, height=6)
    rows = math.ceil(len(classes) / columns)
    # Every pixel of a channel gets at least one dot, or a lone peak could fall between two dots.
    cell = max(1.3 if len(classes) > 12 else 1.6, width / DPI)
    tall = min(max(cell * height / width, 0.4), 3 * cell)
    figure = Figure(figsize=(max(columns * (cell + 0.15) + 1.2, 5.0), rows * (tall + 0.35) + 0.9), layout="constrained")
    scale = colour_scale(definition, values)
    grid = draw_channels(figure, values, classes, scale, columns)
    colour_bar(figure, scale, list(grid.values()), SCALE_LABELS[definition])
    figure.suptitle(f"One-pixel signature of {titled(signature.classifier) or 'a classifier'}", parse_math=False)
    if len(classes) < len(values):
        figure.supxlabel(f"the {len(classes)} of {len(values)} classes that deviate most", fontsize=9)
    save_figure(figure, path)


def save_rows(signatures: Mapping[str, Signature], path: str | Path, definition: str = "change") -> None:
    """Draw one row of channels per classifier, each row on its own colour scale (ICLR 2020, Fig. 8).

    Parameters
    ----------
    signatures : mapping from row label to Signature
        All with the same number of classes.
    path : str or Path
    definition : str

    Raises
    ------
    UsageError
        If the signatures differ in their number of classes, or as `save_channels` says.
    """
    counts = {signature.shape[0] for signature in signatures.values()}
    if len(counts) != 1:
        raise UsageError(f"Expected signatures with one number of classes but got {sorted(counts)}.")
    (classes,) = counts
    figure = Figure(figsize=(1.15 * classes + 2.6, 1.3 * len(signatures) + 0.7), layout="constrained")
    grid = figure.subplots(len(signatures), classes, squeeze=False)
    for k, axes in enumerate(grid[0]):
        axes.set_title(f"class {k}", fontsize=9, color=INK)
    for line, (label, signature) in zip(grid, signatures.items(), strict=True):
        values = signature.values(definition)
        scale = colour_scale(definition, values)
        for axes, channel in zip(line, values, strict=True):
            draw_channel(axes, channel, scale)
        line[0].set_ylabel(label, fontsize=10, color=INK, rotation=0, ha="right", va="center", parse_math=False)
        colour_bar(figure, scale, list(line), "", fraction=0.02, aspect=12)
    figure.suptitle(f"One-pixel signatures: {SCALE_LABELS[definition]} (each row has its own scale)", fontsize=11)
    save_figure(figure, path)


PICTURES.add(Picture("signature", save_channels))
