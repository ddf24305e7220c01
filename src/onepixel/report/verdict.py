"""The one picture of an audit: decision, channels, surface of the suspicious one, and place among other models."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from onepixel.detectors.verdict import Verdict
from onepixel.pictures import PICTURES, Picture
from onepixel.report import words
from onepixel.report.exhibit import save_exhibit
from onepixel.report.figures import CLEAN, INK, TROJANED, save_figure, titled
from onepixel.report.scale import SCALE_LABELS, colour_bar, colour_scale
from onepixel.report.scores import draw_scores
from onepixel.report.signature import best_columns, draw_channels, mark_channel, shown_channels
from onepixel.report.surface import draw_surface


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

    name = titled(verdict.classifier) or "a classifier"
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


PICTURES.add(Picture("verdict", save_verdict))
