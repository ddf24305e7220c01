"""Pictures of responses and reaches, drawn off screen."""

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from onepixel.reaches.response_value import Response
from onepixel.reaches.value import CAP, Reach
from onepixel.report.figures import MOST_CHANNELS, save_figure


def save_reach(reach: Reach, path: str | Path) -> None:
    """Draw the highest log-odds over places by source (the last row: all at once) and target.

    Raises
    ------
    UsageError
        If the path's ending is none that matplotlib writes.
    """
    names = [str(label) for label in reach.sources] + ["all"]
    table = np.full((len(names), len(reach.targets)), np.nan)
    for row, source in enumerate([*reach.classes, None]):
        for column, target in enumerate(reach.targets):
            numbers = reach.findings(source, int(target))
            if len(numbers):
                table[row, column] = reach.log_odds[numbers].max()
    figure = Figure(figsize=(1.5 + 0.45 * len(reach.targets), 1.2 + 0.4 * len(names)), layout="constrained")
    axes = figure.subplots()
    shown = axes.imshow(table, cmap="cividis", vmin=-CAP, vmax=CAP, aspect="auto")
    axes.set_xticks(range(len(reach.targets)), [str(label) for label in reach.targets])
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("target class")
    axes.set_ylabel("source class")
    axes.set_title(f"Reach of one {reach.family}")
    figure.colorbar(shown, label="mean log-odds of the target")
    save_figure(figure, path)


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
