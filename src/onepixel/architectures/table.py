"""The table of architectures: what a row says, and the table itself."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from onepixel.registry import Table


@dataclass(frozen=True)
class Architecture:
    """A network by name.

    Attributes
    ----------
    name : str
    build : callable
        From the number of classes K to a freshly initialised module that answers with logits.
    input_shape : tuple of int
        (C, H, W) of the images it was made for.
    """

    name: str
    build: Callable[[int], nn.Module]
    input_shape: tuple[int, int, int]


ARCHITECTURES = Table[Architecture]("architecture", "onepixel.architectures")
"""Every architecture by its name."""
