"""Adam for networks so small that the work around the numbers counts: the same numbers in less time."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Descent:
    """Adam with decoupled weight decay, its rate decaying to 0 along a cosine.

    Attributes
    ----------
    epochs, batch_size : int
    learning_rate, weight_decay : float
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float

    def train(
        self, network: nn.Module, loss_of: Callable[[Tensor], Tensor], count: int, generator: torch.Generator
    ) -> None:
        """Train a network in place.

        Parameters
        ----------
        network : torch.nn.Module
        loss_of : callable
            From the numbers (n,) of samples to their loss, a scalar.
        count : int
            How many samples there are.
        generator : torch.Generator
            Deals them out to batches anew in every epoch.
        """
        network.train()
        vector = _as_one_vector(network)
        assert vector.grad is not None
        optimizer = torch.optim.AdamW([vector], self.learning_rate, weight_decay=self.weight_decay)
        steps = self.epochs * -(-count // self.batch_size)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(self.epochs):
            for chosen in torch.randperm(count, generator=generator).split(self.batch_size):
                loss = loss_of(chosen)
                vector.grad.zero_()
                loss.backward()
                optimizer.step()
                decay.step()
        _by_itself(network)


def _as_one_vector(network: nn.Module) -> nn.Parameter:
    """All parameters and their gradients as parts of one vector: a dozen operations a step instead of a dozen for each.

    Each keeps its layout in memory, which convolutions are chosen by.
    """
    parameters = list(network.parameters())
    vector = nn.Parameter(torch.empty(sum(parameter.numel() for parameter in parameters)))
    vector.grad = torch.zeros_like(vector)
    place = 0
    for parameter in parameters:
        layout = (parameter.shape, parameter.stride(), place)
        values = vector.data.as_strided(*layout)
        values.copy_(parameter.data)
        parameter.data, parameter.grad = values, vector.grad.as_strided(*layout)
        place += parameter.numel()
    return vector


def _by_itself(network: nn.Module) -> None:
    """Give every parameter its own memory again, and no gradient."""
    for parameter in network.parameters():
        parameter.data, parameter.grad = parameter.data.clone(), None


class Dropout(nn.Dropout):
    """What torch's own drops of the same seed, drawn in half the time."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs with some of them 0 and the others larger, in training; else as they are."""
        if not self.training:
            return inputs
        kept = torch.rand(inputs.shape, dtype=torch.float64) < 1 - self.p
        return inputs * kept.to(inputs.dtype).div_(1 - self.p)
