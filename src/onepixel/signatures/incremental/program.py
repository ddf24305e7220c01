"""What the engine runs: steps from the changed pixel to the answers."""

from dataclasses import dataclass

from torch import Tensor, fx

from onepixel.signatures.incremental.steps import Step

IMAGE = 0
"""The number of the prepared image among the maps."""


@dataclass(frozen=True)
class Program:
    """The steps from the changed pixel to the answers.

    Attributes
    ----------
    steps : tuple of Step
    image : Tensor of shape (M, C, H, W)
        The prepared default images.
    answer : int
        The map that holds the answers.
    base : Tensor of shape (M, K)
        The default images' answers.
    nodes : dict
        The traced node of every map.
    """

    steps: tuple[Step, ...]
    image: Tensor
    answer: int
    base: Tensor
    nodes: dict[int, fx.Node]
