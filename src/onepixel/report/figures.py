"""What all pictures share: colours, short names, and files that are written whole or not at all."""

from pathlib import Path

from matplotlib.figure import Figure

from onepixel.errors import UsageError
from onepixel.files import atomic_path
from onepixel.printable import one_line

CLEAN, TROJANED, INK, UNVISITED = "#0072B2", "#D55E00", "#222222", "#d0d0d0"
"""Colours that also the colour-blind tell apart (Okabe and Ito); shapes differ as well, for grey prints."""

DPI = 150
WIDEST_TITLE = 70
"""Letters of a name that a picture's title has room for."""


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


def titled(text: str) -> str:
    """Text from a model file made fit for a title."""
    return one_line(text, WIDEST_TITLE)
