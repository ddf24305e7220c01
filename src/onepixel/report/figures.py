"""Pictures of signatures and verdicts (ECCV 2020, Fig. 4 and 5; ICLR 2020, Fig. 5 and 8), drawn off screen."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from sklearn.metrics import roc_auc_score, roc_curve

from onepixel.detectors.verdict import Verdict
from onepixel.errors import UsageError
from onepixel.files import atomic_path
from onepixel.report import words
from onepixel.signatures import Signature

Array = NDArray[Any]

CLEAN, TROJANED, INK, UNVISITED = "#0072B2", "#D55E00", "#222222", "#d0d0d0"
"""Colours that also the colour-blind tell apart (Okabe and Ito); shapes differ as well, for grey prints."""

SCALE_LABELS = {
    "max": "highest probability",
    "largest_change": "probability after the largest change",
    "algorithm1": "probability above twice the base, else 0",
    "change": "largest change of the probability",
    "log_odds": "rise of the log-odds",
    "log_odds_fall": "fall of the log-odds",
}
"""What the colours mean under each definition."""

MOST_CHANNELS = 64
"""Above this many classes a picture shows those with the largest deviations only."""

DPI = 150


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a whole image file (PNG, SVG, PDF by its ending) or nothing.

    Raises
    ------
    UsageError
        If the ending is none that matplotlib writes, or the disk does not take the file.
    """
    kind = Path(path).suffix.removeprefix(".").lower()
    known = figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise UsageError(f"A picture's name ends in one of .{', .'.join(sorted(known))} but got {Path(path).name!r}.")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=DPI, facecolor="white")


def one_line(text: str, width: int = 70) -> str:
    """Text from a model file made fit for a title: printable, on one line, at most `width` characters."""
    line = "".join(c if c.isprintable() else " " for c in text)
    line = " ".join(line.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


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


def surface_grid(channel: Array) -> tuple[Array, Array, Array]:
    """Columns x, rows y and heights z of a channel (H, W) as a surface.

    Rows and columns that were never visited are left out, so that a stride's gaps are bridged; a pixel that is still
    missing stands as high as the nearest visited one. A single row or column becomes a strip one pixel wide.
    """
    visited = np.isfinite(channel)
    rows, columns = np.flatnonzero(visited.any(axis=1)), np.flatnonzero(visited.any(axis=0))
    nearest = distance_transform_edt(~visited, return_distances=False, return_indices=True)
    z = channel[tuple(nearest)][np.ix_(rows, columns)]
    x, y = columns.astype(float), rows.astype(float)
    if len(y) == 1:
        y, z = np.array([y[0] - 0.5, y[0] + 0.5]), np.repeat(z, 2, axis=0)
    if len(x) == 1:
        x, z = np.array([x[0] - 0.5, x[0] + 0.5]), np.repeat(z, 2, axis=1)
    return x, y, z


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


def colour_bar(figure: Any, scale: Scale, axes: Any, label: str, **options: Any) -> None:
    """A slim colour bar beside the axes."""
    bar = figure.colorbar(
        scale.mappable, ax=axes, label=label, **{"fraction": 0.04, "pad": 0.015, "aspect": 30, **options}
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8)


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
    figure.suptitle(f"One-pixel signature of {one_line(signature.classifier) or 'a classifier'}", parse_math=False)
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


def draw_surface(axes: Any, values: Array, k: int, scale: Scale, pixel: tuple[int, int]) -> None:
    """Channel k of values (K, H, W) as a surface on 3-D axes, the pixel marked (ECCV 2020, Fig. 5, first row).

    Heights run from the lowest to the highest value of all channels, so that surfaces of one model can be compared.
    """
    x, y, z = surface_grid(values[k])
    columns, rows = np.meshgrid(x, y)
    axes.computed_zorder = False
    look = {"cmap": scale.colours, "vmin": scale.low, "vmax": scale.high, "rstride": 1, "cstride": 1}
    surface = axes.plot_surface(columns, rows, z, linewidth=0.15, **look)
    if z.size <= 64 * 64:  # on a finer grid the lines would hide the colours
        surface.set_edgecolor((0, 0, 0, 0.25))
    row, column = pixel
    top = values[k, row, column]
    if np.isfinite(top):
        axes.plot([column], [row], [top], "o", markersize=8, color="white", markeredgecolor=INK, mew=1.6, zorder=5)
    low, high = value_range(values)
    axes.set(xlabel="column", ylabel="row", zlim=(low, high))
    axes.invert_yaxis()
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, integer=True))
    axes.view_init(elev=32, azim=-60)
    axes.tick_params(labelsize=8, pad=0)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.pane.set(facecolor="#f6f6f6", edgecolor="#dddddd")


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


def save_scores(clean: Sequence[float], trojaned: Sequence[float], threshold: float, path: str | Path) -> None:
    """Draw how a detector separates models: the scores of both kinds, and the ROC curve with its area.

    Parameters
    ----------
    clean, trojaned : sequence of float
        Scores of models the detector was not trained on; neither may be empty.
    threshold : float
        The detector's; marked in both halves.
    path : str or Path

    Raises
    ------
    UsageError
        If a kind has no score, or as `save_channels` says.
    """
    if not len(clean) or not len(trojaned):
        raise UsageError(f"Expected scores of both kinds but got {len(clean)} clean and {len(trojaned)} trojaned ones.")
    labels, scores = [0] * len(clean) + [1] * len(trojaned), [*clean, *trojaned]
    false_positives, true_positives, _ = roc_curve(labels, scores, drop_intermediate=False)
    figure = Figure(figsize=(11, 3.9), layout="constrained")
    strip, roc = figure.subplots(1, 2, width_ratios=(2, 1))
    draw_scores(strip, clean, trojaned, threshold)
    roc.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1, linestyle=":")
    roc.plot(false_positives, true_positives, color=INK, linewidth=1.8)
    roc.plot(
        np.mean(np.asarray(clean) >= threshold),
        np.mean(np.asarray(trojaned) >= threshold),
        "D",
        color=TROJANED,
        label="at the threshold",
    )
    roc.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    roc.set_title(f"AUROC {roc_auc_score(labels, scores):.3f}", fontsize=10)
    roc.legend(frameon=False, fontsize=9, loc="lower right")
    save_figure(figure, path)


def save_verdict(verdict: Verdict, path: str | Path, definition: str = "change") -> None:
    """Draw an audit as one picture: decision, channels, surface of the suspicious one, and place among other models.

    A verdict from images shows its exhibit instead.

    Parameters
    ----------
    verdict : Verdict
    path : str or Path
        Its ending says the format: .png, .svg, .pdf.
    definition : str
        The definition under which the signature is drawn.

    Raises
    ------
    UsageError
        As `save_channels` says.
    """
    signature, pixel = verdict.signature, verdict.pixel
    if signature is None or pixel is None:
        from onepixel.report.exhibit import save_exhibit

        save_exhibit(verdict, path)
        return
    accent = TROJANED if verdict.decision == "trojaned" else CLEAN
    target = verdict.target_class
    values = signature.values(definition)
    classes = shown_channels(values, keep=[target])
    scale = colour_scale(definition, values)
    margins = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.04, rect=(0.01, 0.01, 0.98, 0.98))
    figure = Figure(figsize=(13, 8.6), layout=margins)
    parts: Any = figure.subfigures(3, 1, height_ratios=(1.25, 5.2, 2.1))
    head, body, foot = parts
    left, right = body.subfigures(1, 2, width_ratios=(1.5, 1))

    name = one_line(verdict.classifier) or "a classifier"
    head.text(0.015, 0.76, words.headline(verdict), fontsize=24, fontweight="bold", color=accent, va="center")
    head.text(0.015, 0.40, name, fontsize=13, color=INK, va="center", parse_math=False)
    p = "" if verdict.p_value is None else f"  p = {verdict.p_value:.2g}."
    head.text(0.015, 0.13, words.reason(verdict) + p, fontsize=10.5, color=INK, va="center")

    columns = best_columns(len(classes), values.shape[2] / values.shape[1], width=7.5, height=4.2)
    grid = draw_channels(left, values, classes, scale, columns)
    mark_channel(grid[target], pixel, accent)
    grid[target].title.set(fontweight="bold", color=accent)
    colour_bar(left, scale, list(grid.values()), SCALE_LABELS[definition], location="bottom", shrink=0.7)

    surface = right.add_subplot(projection="3d")
    draw_surface(surface, values, target, scale, pixel)
    row, column = pixel
    surface.set_title(f"class {target}, most suspicious at row {row}, column {column}", fontsize=11, color=INK)

    draw_scores(foot.subplots(), verdict.clean_scores, verdict.trojaned_scores, verdict.threshold, verdict.score)
    save_figure(figure, path)
