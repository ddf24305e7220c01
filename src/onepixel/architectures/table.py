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
    pretrained : callable, optional
        From K to a module with published weights, all but a last layer that other classes need; None where a package
        has none.
    """

    name: str
    build: Callable[[int], nn.Module]
    input_shape: tuple[int, int, int]
    pretrained: Callable[[int], nn.Module] | None = None


ARCHITECTURES = Table[Architecture]("architecture", "onepixel.architectures")
"""Every architecture by its name."""
