"""Adam on one tensor, to the last digit what torch's own optimiser does, whose first step imports torch's compiler.

That import takes longer than a whole audit of a small network.
"""

import torch
from torch import Tensor

BETAS = (0.9, 0.999)
"""How much of the mean gradient, and of the mean squared one, each step keeps."""

EPSILON = 1e-8
"""Added to the root of the mean squared gradient, so that nothing is divided by zero."""


class Adam:
    """Moves one tensor against its gradients (Kingma and Ba, ICLR 2015, algorithm 1).

    Parameters
    ----------
    moved : Tensor
        Changed in place by every step.
    rate : float
    """

    def __init__(self, moved: Tensor, rate: float) -> None:
        self.moved, self.rate = moved, rate
        self.mean, self.square = torch.zeros_like(moved), torch.zeros_like(moved)
        self.steps = 0

    @torch.no_grad()
    def step(self, gradient: Tensor) -> None:
        """One step; the gradient has the tensor's shape."""
        self.steps += 1
        kept, kept_square = BETAS
        self.mean.lerp_(gradient, 1 - kept)
        self.square.mul_(kept_square).addcmul_(gradient, gradient, value=1 - kept_square)
        spread = (self.square.sqrt() / (1 - kept_square**self.steps) ** 0.5).add_(EPSILON)
        self.moved.addcdiv_(self.mean, spread, value=-self.rate / (1 - kept**self.steps))
