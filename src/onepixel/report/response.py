"""The picture of a response, drawn off screen."""

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from onepixel.pictures import PICTURES, Picture
from onepixel.reaches.response_value import Response
from onepixel.report.figures import save_figure
from onepixel.report.signature import MOST_CHANNELS


def save_response(response: Response, path: str | Path) -> None:
    """Draw the largest response over the other classes for every target, by place; at most 64 targets.

    Raises
    ------
    UsageError
        If the path's ending is none that matplotlib writes.
    """
    table = response.mean.copy()
    table[np.arange(len(response.sources)), response.sources] = np.nan
    largest = np.nanmax(np.where(np.isnan(table), -1.0, table), axis=0)
    targets = np.sort(np.argsort(-largest.max(axis=1))[:MOST_CHANNELS])
    columns = math.ceil(math.sqrt(len(targets)))
    rows = math.ceil(len(targets) / columns)
    figure = Figure(figsize=(1.8 * columns + 1, 1.9 * rows + 0.5), layout="constrained")
    tops, lefts = np.unique(response.places[:, 0]), np.unique(response.places[:, 1])
    shown = None
    all_axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axes in all_axes:
        axes.set_axis_off()
    for axes, target in zip(all_axes, targets, strict=False):
        picture = np.full((len(tops), len(lefts)), np.nan)
        picture[np.searchsorted(tops, response.places[:, 0]), np.searchsorted(lefts, response.places[:, 1])] = np.where(
            largest[target] < 0, np.nan, largest[target]
        )
        shown = axes.imshow(picture, cmap="cividis", vmin=0, vmax=1)
        axes.set_title(f"target {target}", fontsize=9)
    if shown is not None:
        figure.colorbar(shown, ax=all_axes.tolist(), label="mean probability of the target")
    figure.suptitle(f"Response to one {response.probe}")
    save_figure(figure, path)


PICTURES.add(Picture("response", save_response))
