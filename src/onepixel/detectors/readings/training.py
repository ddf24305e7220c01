"""How the networks behind readings are trained, and the row of a reading that is such a network."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onepixel.detectors.readings.channel_network import ChannelNetwork
from onepixel.detectors.readings.table import Reading, Schedule

NewNetwork = Callable[..., ChannelNetwork]
"""From the number of definitions and K, H, W to an untrained network."""


def network_reading(
    name: str, title: str, new: NewNetwork, *, scores_channels: bool = True, shuffles_classes: bool = False
) -> Reading:
    """The row of a reading that is a network.

    Parameters
    ----------
    name, title : str
    new : callable
        From the number of definitions and K, H, W to an untrained network.
    scores_channels : bool
        Whether it scores single channels.
    shuffles_classes : bool
        Whether the order of the classes says something to it, so that training may shuffle them.
    """

    def restore(state: dict[str, Tensor], definitions: int, shape: tuple[int, ...]) -> ChannelNetwork:
        network = new(definitions, *shape)
        network.load_state_dict(state)
        return network

    fit = partial(train_network, new, shuffles_classes)
    return Reading(name, title, fit, restore, scores_channels=scores_channels)


def train_network(
    new: NewNetwork,
    shuffles_classes: bool,
    signatures: NDArray[np.float32],
    labels: NDArray[Any],
    schedule: Schedule,
    seed: int,
) -> ChannelNetwork:
    """Train one network on signatures (N, D, K, H, W) with labels (N,); both labels weigh the same in the loss."""
    inputs, wanted = torch.as_tensor(signatures), torch.as_tensor(labels.astype(np.float32))
    shuffles = [shuffle_classes] if schedule.shuffle_classes and shuffles_classes else []
    changes = [*shuffles, mirror] if schedule.mirror else shuffles
    generator = torch.Generator().manual_seed(seed)
    share = wanted.mean()
    weights = torch.where(wanted == 1, 0.5 / share, 0.5 / (1 - share))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = new(inputs.shape[1], *inputs.shape[2:])
        prepared = network.prepare(inputs)

        def loss_of(chosen: Tensor) -> Tensor:
            batch = prepared[chosen]
            for change in changes:
                batch = change(batch, generator)
            return network.loss(batch, wanted[chosen], weights[chosen])

        schedule.descent.train(network, loss_of, len(inputs), generator)
    return network


def shuffle_classes(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Give every signature (N, K, C, H, W) of a batch its own order of classes."""
    order = torch.rand(batch.shape[:2], generator=generator).argsort(dim=1)
    return batch[torch.arange(len(batch))[:, None], order]


def mirror(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Flip and transpose the images of a batch (N, K, C, H, W), all in the same way."""
    upside_down, left_right, transposed = (torch.rand(3, generator=generator) < 0.5).tolist()
    dims = [dim for dim, chosen in ((-2, upside_down), (-1, left_right)) if chosen]
    flipped = batch.flip(dims) if dims else batch
    return flipped.transpose(-1, -2) if transposed and batch.shape[-1] == batch.shape[-2] else flipped
