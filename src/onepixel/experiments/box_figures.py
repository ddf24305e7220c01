"""Maps of a box head's cells side by side, as figure 7 of ICLR 2020 shows them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from onepixel.boxes.records import Record
from onepixel.report.figures import save_figure


def draw_maps(path: Path, shown: Sequence[Record], maps: Sequence[np.ndarray], label: str, *, first: int = 0) -> None:
    """Draw one row of maps for each detector, one map for each class; red squares show where triggers lie.

    Parameters
    ----------
    path : Path
    shown : sequence of Record
    maps : sequence of array of shape (K + 1, 7, 7)
        One for each detector.
    label : str
        What the colours mean.
    first : int
        The first class that is drawn; 0 is the background.
    """
    if not shown:
        return
    drawn = [one[first:] for one in maps]
    highest = max(float(one.max()) for one in drawn)
    figure = Figure(figsize=(2.2 * len(drawn[0]), 2.4 * len(shown)), layout="constrained")
    axes = figure.subplots(len(shown), len(drawn[0]), squeeze=False)
    for line, record, rises in zip(axes, shown, drawn, strict=True):
        for number, (axis, rise) in enumerate(zip(line, rises, strict=True), start=first):
            picture = axis.imshow(rise, vmin=0, vmax=highest)
            what = "background" if number == 0 else f"class {number}"
            target = " (target)" if number and number == record.target else ""
            axis.set_title(f"{record.group}: {what}{target}", size=8)
            axis.set(xticks=[], yticks=[])
            if record.trojaned:
                size = len(rise)
                side = size * record.share
                row, column = (part * size - 0.5 - side / 2 for part in record.place)
                axis.add_patch(Rectangle((column, row), side, side, fill=False, edgecolor="red"))
    figure.colorbar(picture, ax=axes, label=label)
    save_figure(figure, path)
