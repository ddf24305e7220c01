"""Scores of models: piles of clean and trojaned ones, a threshold, and one score among them."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from onepixel.report.figures import CLEAN, INK, TROJANED


def stacked(scores: Sequence[float], low: float, high: float, bins: int = 80) -> NDArray[np.int64]:
    """How many earlier scores share each score's bin of [low, high]: the height at which its dot goes on a pile."""
    width = (high - low) / bins or 1.0
    seen: dict[int, int] = {}
    levels = []
    for score in scores:
        index = int((score - low) // width)
        levels.append(seen.get(index, 0))
        seen[index] = levels[-1] + 1
    return np.array(levels, dtype=np.int64)


def score_range(clean: Sequence[float], trojaned: Sequence[float], others: Sequence[float] = ()) -> tuple[float, float]:
    """From below the lowest to above the highest of all scores, with a margin on both sides."""
    everything = [score for score in (*clean, *trojaned, *others) if math.isfinite(score)] or [0.0]
    low, high = min(everything), max(everything)
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def label_side(position: float, threshold: float) -> int:
    """On which side of a mark its label goes, -1 left or 1 right: away from the threshold, if there is room.

    Positions are shares of the drawing's width.
    """
    if position < 0.15 or position > 0.85:
        return 1 if position < 0.15 else -1
    return 1 if position >= threshold else -1


def draw_scores(
    axes: Any,
    clean: Sequence[float],
    trojaned: Sequence[float],
    threshold: float,
    score: float | None = None,
) -> None:
    """Piles of reference scores, clean ones above the axis and trojaned ones below; threshold and one score marked."""
    low, high = score_range(clean, trojaned, [threshold] if score is None else [threshold, score])
    kinds = ((clean, 1, CLEAN, "o"), (trojaned, -1, TROJANED, "^"))
    piles = [stacked(scores, low, high) + 1 for scores, *_ in kinds]
    tallest = max(5, *(pile.max(initial=0) for pile in piles))
    lane = 0.0 if score is None else 0.3 * tallest
    for (scores, sign, colour, marker), pile in zip(kinds, piles, strict=True):
        axes.scatter(scores, sign * (lane + pile), s=22, c=colour, marker=marker, alpha=0.8, linewidths=0)
    reach = lane + tallest + 1
    labels = [f"{len(clean)} clean models", f"{len(trojaned)} trojaned models"]
    axes.set_yticks([reach / 2, -reach / 2], labels, fontweight="bold")
    for label, colour in zip(axes.get_yticklabels(), (CLEAN, TROJANED), strict=True):
        label.set_color(colour)
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(low, high), ylim=(-reach, reach), xlabel="score (higher is more suspicious)")
    axes.axhspan(-lane - 0.2, lane + 0.2, color="#f0f0f0", linewidth=0)
    axes.axvline(threshold, color=INK, linewidth=1.2, linestyle="--")
    axes.text(threshold, reach, f"threshold {threshold:.3g}", ha="center", va="bottom", fontsize=9, color=INK)
    if score is not None:
        axes.plot([score], [0], "D", markersize=11, color=INK, markeredgecolor="white", mew=1.5, zorder=5)
        side = label_side((score - low) / (high - low), (threshold - low) / (high - low))
        axes.annotate(
            f"this model {score:.3g}",
            (score, 0),
            (11 * side, 0),
            textcoords="offset points",
            fontsize=10,
            fontweight="bold",
            ha="left" if side > 0 else "right",
            va="center",
            color=INK,
            path_effects=[withStroke(linewidth=3, foreground="#f0f0f0")],
            zorder=6,
        )
    for side_of_box in ("left", "right", "top"):
        axes.spines[side_of_box].set_visible(False)
