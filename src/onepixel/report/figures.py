"""What all pictures share: colours, short names, and files that are written whole or not at all."""

from pathlib import Path

from matplotlib.figure import Figure

from onepixel.errors import UsageError
from onepixel.files import atomic_path

CLEAN, TROJANED, INK, UNVISITED = "#0072B2", "#D55E00", "#222222", "#d0d0d0"
"""Colours that also the colour-blind tell apart (Okabe and Ito); shapes differ as well, for grey prints."""

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
