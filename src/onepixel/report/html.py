"""The HTML report of an audit: one file that needs neither a network nor a server, and says the verdict in words first.

Every name in it comes from a model file that somebody else made, so the template escapes everything, and the page's
own content security policy lets no script run but the one that is written here, and nothing be loaded.
"""

import base64
import hashlib
import io
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from onepixel.detectors.exhibit import Exhibit
from onepixel.detectors.verdict import Verdict
from onepixel.files import write_text
from onepixel.pictures import PICTURES, Picture
from onepixel.report import words
from onepixel.report.exhibit import shown
from onepixel.report.scale import SCALE_LABELS, Array, Scale, colour_scale, value_range
from onepixel.report.scores import label_side, score_range, stacked
from onepixel.report.signature import shown_channels
from onepixel.report.surface import coarser, draw_surface, surface_grid
from onepixel.signatures import Signature
from onepixel.version import __version__

MOST_DOTS = 400_000
"""Above this many dots in all, fewer channels are shown, so that a report of a large network stays below 1.5 MB."""

MOST_HEIGHTS = 100_000
"""Above this many heights in all, surfaces are drawn on a coarser grid, for the same reason."""


@dataclass(frozen=True)
class Tile:
    """One channel of the signature on the page.

    Attributes
    ----------
    label : int
        The class.
    score : str
        The channel's own score, empty where the detector gave none.
    image : str
        A data URI; pixels that were not visited are transparent.
    suspicious : bool
    """

    label: int
    score: str
    image: str
    suspicious: bool


def write_report(verdict: Verdict, path: str | Path, definition: str = "change") -> None:
    """Write the self-contained HTML report of an audit.

    Parameters
    ----------
    verdict : Verdict
    path : str or Path
    definition : str
        The definition under which the signature is drawn; a key of `onepixel.signatures.DEFINITIONS`.

    Raises
    ------
    UsageError
        If there is no such definition, or the disk does not take the file.
    """
    # A file name that is no valid text must not cost the report.
    write_text(path, render_report(verdict, definition).encode("utf-8", "replace").decode())


def render_report(verdict: Verdict, definition: str = "change") -> str:
    """The report as text; see `write_report`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("onepixel.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    parts = signature_parts(verdict, definition)
    if parts:
        parts["page_js"] = environment.get_template("report.js").render()
    return environment.get_template("template.html").render(
        verdict=verdict,
        name=verdict.classifier or "a classifier without a name",
        words=words,
        written=datetime.now(UTC),
        exhibit=[] if verdict.exhibit is None else exhibit_parts(verdict.exhibit),
        strip=score_strip(verdict),
        facts=facts(verdict, definition),
        script_hashes=[script_hash(parts["page_js"])] if parts else [],
        findings=findings(verdict),
        **{"signature": verdict.signature, **parts},
    )


def signature_parts(verdict: Verdict, definition: str) -> dict[str, Any]:
    """What the page shows of a signature; nothing for a verdict that rests on images."""
    signature, pixel = verdict.signature, verdict.pixel
    if signature is None or pixel is None:
        return {}
    values = signature.values(definition)
    _, height, width = values.shape
    scale = colour_scale(definition, values)
    most = max(1, min(64, MOST_DOTS // (height * width)))
    classes = shown_channels(values, most, keep=[verdict.target_class])
    return {
        "tiles": [tile(verdict, values, k, scale) for k in classes],
        "shape": values.shape,
        "tile_width": "10rem" if len(classes) <= 10 else "7.2rem" if len(classes) <= 24 else "6rem",
        "definition": definition,
        "unvisited": not signature.visited.all(),
        "scale": scale_bar(scale, SCALE_LABELS[definition]),
        "surface": surface_data(values, classes, verdict.target_class, pixel, scale, SCALE_LABELS[definition]),
        "surface_image": surface_image(verdict.target_class, pixel, values, scale),
    }


def findings(verdict: Verdict) -> dict[str, Any]:
    """The verdict for machines, without the numbers of an exhibit's pixels: the page holds its images already."""
    found: dict[str, Any] = verdict.to_dict()
    if found.get("exhibit"):
        found["exhibit"] = {key: value for key, value in found["exhibit"].items() if key not in ("before", "after")}
    return found


def exhibit_parts(exhibit: Exhibit) -> list[dict[str, str]]:
    """Every image of an exhibit as the page shows it."""
    return [{**vars(image), "before": png_uri(image.before), "after": png_uri(image.after)} for image in shown(exhibit)]


def script_hash(script: str) -> str:
    """What a content security policy needs to let exactly this inline script run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def png_uri(content: bytes) -> str:
    """A PNG image as a data URI."""
    return "data:image/png;base64," + base64.b64encode(content).decode()


def channel_image(channel: Array, scale: Scale) -> str:
    """A channel (H, W) as a PNG of one dot per pixel in 255 colours, transparent where it was not visited."""
    visited = np.isfinite(channel)
    share = (np.where(visited, channel, scale.low) - scale.low) / (scale.high - scale.low)
    image = Image.fromarray(np.where(visited, np.rint(254 * np.clip(share, 0, 1)), 255).astype(np.uint8))
    image.putpalette([level for colour in [*scale.stops(255), (0, 0, 0)] for level in colour])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=255, optimize=True)
    return png_uri(buffer.getvalue())


def tile(verdict: Verdict, values: Array, k: int, scale: Scale) -> Tile:
    """The tile of class k."""
    score = f"{verdict.class_scores[k]:.2f}" if k < len(verdict.class_scores) else ""
    return Tile(k, score, channel_image(values[k], scale), k == verdict.target_class)


def scale_bar(scale: Scale, label: str) -> dict[str, Any]:
    """The colour bar: its label, its ends and the middle, and a CSS gradient."""
    gradient = ", ".join(f"rgb({r} {g} {b})" for r, g, b in scale.stops(17))
    ticks = [f"{value:.3g}" for value in (scale.low, (scale.low + scale.high) / 2, scale.high)]
    return {"label": label, "ticks": ticks, "gradient": gradient}


def typed_array(array: Array) -> dict[str, str]:
    """An array as the page's script reads it: 32-bit floats, at a third of the digits' size."""
    data = base64.b64encode(np.ascontiguousarray(array, dtype="<f4").tobytes()).decode()
    return {"dtype": "f4", "bdata": data}


def surface_data(
    values: Array, classes: Sequence[int], target: int, pixel: tuple[int, int], scale: Scale, label: str
) -> dict[str, Any]:
    """Everything the page's script needs to draw any shown channel as a surface; JSON types only."""
    low, high = value_range(values)
    margin = 0.02 * (high - low)
    most = MOST_HEIGHTS // len(classes)
    grids = {k: coarser(*surface_grid(values[k]), most) for k in classes}
    x, y, _ = grids[target]
    row, column = pixel
    height = values[target, row, column]
    return {
        "x": x.tolist(),
        "y": y.tolist(),
        "z": {k: typed_array(z) for k, (_, _, z) in grids.items()},
        "label": label,
        "range": [low - margin, high + margin],
        "cmin": scale.low,
        "cmax": scale.high,
        "colours": [f"rgb({r}, {g}, {b})" for r, g, b in scale.stops(65)],
        "target": target,
        "pixel": [row, column, float(height)] if np.isfinite(height) else None,
    }


def surface_image(target: int, pixel: tuple[int, int], values: Array, scale: Scale) -> str:
    """The suspicious channel's surface as a still, for paper and for browsers that run no script."""
    figure = Figure(figsize=(5.6, 4.6))
    axes = figure.add_axes((0.0, 0.02, 0.94, 1.0), projection="3d")
    draw_surface(axes, values, target, scale, pixel)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, facecolor="white")
    return png_uri(buffer.getvalue())


def score_strip(verdict: Verdict) -> dict[str, Any]:
    """Where this model lies: positions in a drawing 1000 wide, and the heights that the piles need."""
    low, high = score_range(verdict.clean_scores, verdict.trojaned_scores, [verdict.threshold, verdict.score])

    def across(score: float) -> float:
        return round(20 + 960 * (score - low) / (high - low), 1)

    piles = {}
    for kind, scores in (("clean", verdict.clean_scores), ("trojaned", verdict.trojaned_scores)):
        levels = stacked(scores, low, high).tolist()
        piles[kind] = [(across(score), level) for score, level in zip(scores, levels, strict=True)]
    tallest = max((level for pile in piles.values() for _, level in pile), default=0) + 1
    step = min(13.0, 150 / tallest)
    ticks = [float(tick) for tick in MaxNLocator(7).tick_values(low, high) if low <= tick <= high]
    return {
        **piles,
        "score": across(verdict.score),
        "threshold": across(verdict.threshold),
        "side": label_side(across(verdict.score) / 1000, across(verdict.threshold) / 1000),
        "step": step,
        "pile": round(max(4, tallest) * step + 8, 1),
        "ticks": [(across(tick), f"{tick:g}") for tick in ticks],
    }


def facts(verdict: Verdict, definition: str) -> list[tuple[str, str]]:
    """How the verdict was made, as rows of a table."""
    return [
        ("classifier", verdict.classifier),
        *(images_facts(verdict) if verdict.signature is None else signature_facts(verdict.signature, definition)),
        ("queries", f"{verdict.queries:,} images"),
        ("detector", verdict.detector),
        ("score, threshold", f"{verdict.score:.6g}, {verdict.threshold:.6g}"),
        ("probability, prior", said(verdict.probability, verdict.prior)),
        ("reference models", f"{len(verdict.clean_scores)} clean, {len(verdict.trojaned_scores)} trojaned"),
        ("onepixel", __version__),
        ("made with", f"Python {platform.python_version()}, torch {torch.__version__}, NumPy {np.__version__}, "
         f"matplotlib {matplotlib.__version__}"),
    ]  # fmt: skip


def said(*numbers: float | None) -> str:
    """Some numbers in a row; "not known" where one is missing."""
    return "not known" if None in numbers else ", ".join(f"{number:.3g}" for number in numbers)


def signature_facts(signature: Signature, definition: str) -> list[tuple[str, str]]:
    """How a signature was made."""
    classes, height, width = signature.shape
    visited = int(signature.visited.sum())
    return [
        ("signature", f"{classes} classes, {height} x {width} pixels, {visited:,} of them visited"),
        ("drawn here as", f"{definition} ({SCALE_LABELS[definition]})"),
        *[(key.replace("_", " "), str(value)) for key, value in asdict(signature.settings).items()],
        ("engine", f"{signature.engine}{f' ({signature.note})' if signature.note else ''}"),
        *[(f"engine: {key.replace('_', ' ')}", str(value)) for key, value in signature.details.items()],
    ]


def images_facts(verdict: Verdict) -> list[tuple[str, str]]:
    """Which images an audit used, and what it looked for."""
    rows = [("search", verdict.search), ("families tested", ", ".join(verdict.families))]
    if verdict.images is not None:
        found = verdict.images
        rows.append(("images", f"{found.offered} offered; sure of {found.sure}, of {found.classes} classes"))
        rows += [("images: look at", sentence) for sentence in found.disagreements]
    return rows


PICTURES.add(Picture("html", write_report))
