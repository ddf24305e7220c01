"""The picture of a reach, drawn off screen."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from onepixel.pictures import PICTURES, Picture
from onepixel.reaches.value import CAP, Reach
from onepixel.report.figures import save_figure


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


PICTURES.add(Picture("reach", save_reach))
