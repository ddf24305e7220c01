"""The exhibit as people see it: the auditor's own images before and after the change, with what the network says."""

import io
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from onepixel.detectors.exhibit import Exhibit
from onepixel.detectors.verdict import Verdict
from onepixel.report import words
from onepixel.report.figures import CLEAN, INK, TROJANED, save_figure, titled

LEAST_SIDE = 128
"""Small images are enlarged by a whole factor to at least this many dots, so that a reader need not scale them."""

LETTERS_PER_INCH, LINE = 13, 0.17
"""Letters of the sentence above an exhibit that fit into an inch, wide ones included, and the height of a line."""

MOST_SIDE = 224
"""Larger images are shown reduced to this many dots, so that a report stays below 1.5 MB."""


@dataclass(frozen=True)
class Shown:
    """One image of an exhibit on a page: two PNG images, what they show in words, and what the classifier says."""

    name: str
    before: bytes
    after: bytes
    before_alt: str
    after_alt: str
    says_before: str
    says_after: str


def pixels(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """An image (C, H, W) in [0, 1] as (H, W) or (H, W, 3) bytes; other numbers of channels show their mean."""
    seen = image if image.shape[0] == 3 else image.mean(axis=0, keepdims=True)
    whole = np.rint(255 * np.clip(seen, 0, 1)).astype(np.uint8).transpose(1, 2, 0)
    return whole if image.shape[0] == 3 else whole[..., 0]


def png(image: NDArray[np.float32]) -> bytes:
    """An image (C, H, W) in [0, 1] as a PNG file, small ones enlarged, large ones reduced."""
    picture = Image.fromarray(pixels(image))
    picture.thumbnail((MOST_SIDE, MOST_SIDE))
    factor = max(1, -(-LEAST_SIDE // max(picture.size)))
    buffer = io.BytesIO()
    enlarged = picture.resize((factor * picture.width, factor * picture.height), Image.Resampling.NEAREST)
    enlarged.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def says(row: dict[str, Any]) -> str:
    """What the classifier says of one image, short."""
    return f"class {row['class']}, {100 * row['probability']:.1f} %"


def shown(exhibit: Exhibit) -> list[Shown]:
    """Every image of an exhibit."""
    where = f", a patch in {words.place(exhibit.place)}" if exhibit.place else ", changed all over"
    return [
        Shown(
            name=titled(row["image"]),
            before=png(exhibit.before[number]),
            after=png(exhibit.after[number]),
            before_alt=f"{titled(row['image'])} unchanged; the classifier says {says(row['before'])}",
            after_alt=f"{titled(row['image'])} with the change{where}; the classifier says {says(row['after'])}",
            says_before=says(row["before"]),
            says_after=says(row["after"]),
        )
        for number, row in enumerate(exhibit.rows)
    ]


def draw_exhibit(figure: Any, exhibit: Exhibit) -> None:
    """Each image, unchanged above and changed below, on a figure or subfigure; the place is framed."""
    grid = figure.subplots(2, len(exhibit), squeeze=False)
    for number, row in enumerate(exhibit.rows):
        for line, when, images in ((0, "before", exhibit.before), (1, "after", exhibit.after)):
            axes = grid[line][number]
            axes.imshow(pixels(images[number]), cmap="gray", vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[])
            axes.set_title(says(row[when]), fontsize=11, color=TROJANED if line else INK, pad=4)
            if line and exhibit.place is not None:
                top, left, height, width = exhibit.place
                frame = Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=TROJANED, linewidth=2)
                axes.add_patch(frame)
    grid[0][0].set_ylabel("unchanged", fontsize=11)
    grid[1][0].set_ylabel("with the patch" if exhibit.place is not None else "changed", fontsize=11)


def save_exhibit(verdict: Verdict, path: str | Path) -> None:
    """Draw a verdict from images as one picture: the decision, and the exhibit where there is one.

    Parameters
    ----------
    verdict : Verdict
    path : str or Path
        Its ending says the format: .png, .svg, .pdf.

    Raises
    ------
    UsageError
        As `onepixel.report.signature.save_channels` says.
    """
    exhibit = verdict.exhibit
    width = max(8.0, 2.6 * (0 if exhibit is None else len(exhibit)))
    said = textwrap.wrap(words.suspicion(verdict), int(LETTERS_PER_INCH * width))
    heights = [0.95 + LINE * len(said), *([] if exhibit is None else [6.0])]
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    parts: Any = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    head = parts[0]
    accent = TROJANED if verdict.decision == "trojaned" else CLEAN
    head.text(0.02, 1 - 0.25 / heights[0], words.headline(verdict), fontsize=22, fontweight="bold", color=accent,
              va="center")  # fmt: skip
    head.text(0.02, 1 - 0.65 / heights[0], titled(verdict.classifier) or "a classifier", fontsize=12, color=INK,
              va="center", parse_math=False)  # fmt: skip
    head.text(0.02, 1 - 0.85 / heights[0], "\n".join(said), fontsize=9.5, color=INK, va="top")
    if exhibit is not None:
        draw_exhibit(parts[1], exhibit)
    save_figure(figure, path)
