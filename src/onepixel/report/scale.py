"""Which colour means which value of a signature."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from numpy.typing import NDArray

Array = NDArray[Any]


SCALE_LABELS = {
    "max": "highest probability",
    "largest_change": "probability after the largest change",
    "algorithm1": "probability above twice the base, else 0",
    "change": "largest change of the probability",
    "log_odds": "rise of the log-odds",
    "log_odds_fall": "fall of the log-odds",
}
"""What the colours mean under each definition."""


def value_range(values: Array) -> tuple[float, float]:
    """The lowest and the highest value at visited pixels, kept a little apart where all are equal."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return (low, high) if high - low > 1e-12 else (low - 1e-6, high + 1e-6)


@dataclass(frozen=True)
class Scale:
    """Which value gets which colour: from low to high through a colour map that matplotlib knows by name."""

    low: float
    high: float
    colours: str

    @property
    def mappable(self) -> ScalarMappable:
        """For matplotlib."""
        return ScalarMappable(Normalize(self.low, self.high), self.colours)

    def stops(self, count: int) -> list[tuple[int, int, int]]:
        """Evenly spaced colours, red, green and blue in 0 .. 255, from the low to the high end."""
        colours = colormaps[self.colours](np.linspace(0, 1, count), bytes=True)
        return [(int(r), int(g), int(b)) for r, g, b, _ in colours]


def colour_scale(definition: str, values: Array) -> Scale:
    """One scale for all channels: diverging around 0 for `change`, else from the lowest to the highest value."""
    low, high = value_range(values)
    if definition == "change":
        high = max(abs(low), abs(high))
        low = -high
    return Scale(low, high, "RdBu_r" if definition == "change" else "viridis")


def colour_bar(figure: Any, scale: Scale, axes: Any, label: str, **options: Any) -> None:
    """A slim colour bar beside the axes."""
    bar = figure.colorbar(
        scale.mappable, ax=axes, label=label, **{"fraction": 0.04, "pad": 0.015, "aspect": 30, **options}
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8)
