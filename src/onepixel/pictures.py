"""Pictures by name: a value is drawn by a method of its own although `report`, which draws, reads values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from onepixel.registry import Table


@dataclass(frozen=True)
class Picture:
    """A way to show a value.

    Attributes
    ----------
    name : str
        The value's, in small letters, or the format's: "signature", "html".
    draw : callable
        From the value, a path and options to a file; what a notebook shows is returned as text.
    """

    name: str
    draw: Callable[..., Any]


PICTURES = Table[Picture]("picture", "onepixel.report")
"""Every picture that a value has a method for."""
