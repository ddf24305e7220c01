"""Two groups of signatures side by side: mean surfaces, mean spectra, variances (ECCV 2020, Fig. 5)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from onepixel.report.figures import CLEAN, TROJANED, save_figure

Pair = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Of clean and of trojaned networks."""

NAMES, COLOURS = ("clean", "trojaned"), (CLEAN, TROJANED)


def positive(amplitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Amplitudes with what is rounding set to 0; all 1 where there is nothing else."""
    largest = float(amplitudes.max())
    return np.where(amplitudes > 1e-6 * largest, amplitudes, 0) if largest > 0 else np.ones_like(amplitudes)


def save_comparison(
    titles: Sequence[str],
    surfaces: Sequence[Pair],
    spectra: Sequence[Pair],
    variances: Sequence[Pair],
    definition: str,
    path: Path,
) -> None:
    """Draw a column pair per kind of networks, left clean and right trojaned, each pair on one scale.

    Parameters
    ----------
    titles : sequence of str
    surfaces : sequence of pairs of arrays (H, W)
        Mean signatures.
    spectra : sequence of pairs of arrays (H, W)
        Mean amplitudes, the lowest frequency in the middle; drawn as logarithms.
    variances : sequence of pairs of arrays (N,)
    definition : str
        Named above it all.
    path : Path

    Raises
    ------
    UsageError
        See `save_figure`.
    """
    kinds = len(titles)
    figure = Figure(figsize=(3.6 * kinds, 7.2))
    figure.suptitle(f"Mean signature under {definition}, mean spectrum, variance", y=0.995)
    grid = figure.add_gridspec(3, 2 * kinds, left=0.03, right=0.985, top=0.9, bottom=0.07, hspace=0.3, wspace=0.25)
    for number, title in enumerate(titles):
        lowest = min(float(part.min()) for part in surfaces[number])
        highest = max(float(part.max()) for part in surfaces[number])
        # The lowest frequency is 0, since each class's mean was taken off; it would leave no colours for the others.
        logarithms = [np.log10(np.where(part > 0, part, np.nan)) for part in map(positive, spectra[number])]
        dimmest = min(float(np.nanmin(part)) for part in logarithms)
        brightest = max(float(np.nanmax(part)) for part in logarithms)
        for side, (name, colour) in enumerate(zip(NAMES, COLOURS, strict=True)):
            axes = figure.add_subplot(grid[0, 2 * number + side], projection="3d")
            surface = surfaces[number][side]
            rows, columns = np.mgrid[: surface.shape[0], : surface.shape[1]]
            look = {"cmap": "viridis", "vmin": lowest, "vmax": highest, "rstride": 1, "cstride": 1, "linewidth": 0}
            axes.plot_surface(columns, rows, surface, **look)
            axes.set(zlim=(lowest, max(highest, lowest + 1e-6)), xticks=[], yticks=[])
            axes.tick_params(labelsize=6, pad=-2)
            axes.set_title(f"{title}\n{name}" if side == 0 else f"\n\n{name}", fontsize=8, color=colour)
            plain = figure.add_subplot(grid[1, 2 * number + side])
            plain.imshow(logarithms[side], cmap="magma", vmin=dimmest, vmax=brightest)
            plain.set(xticks=[], yticks=[])
        histogram = figure.add_subplot(grid[2, 2 * number : 2 * number + 2])
        joined = np.concatenate(variances[number])
        edges = np.linspace(float(joined.min()), max(float(joined.max()), float(joined.min()) + 1e-12), 21)
        for values, name, colour in zip(variances[number], NAMES, COLOURS, strict=True):
            histogram.hist(values, edges.tolist(), color=colour, alpha=0.55, label=name)
        histogram.tick_params(labelsize=7)
        histogram.set_xlabel("variance", fontsize=8)
        if number == 0:
            histogram.legend(fontsize=7)
    save_figure(figure, path)
