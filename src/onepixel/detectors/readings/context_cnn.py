"""A network that sees each class channel beside what the other channels do, wherever on the image that is."""

import torch
from torch import Tensor, nn

from onepixel.detectors.readings.channel_network import ChannelNetwork
from onepixel.detectors.readings.descent import Dropout
from onepixel.detectors.readings.table import READINGS
from onepixel.detectors.readings.training import network_reading


class ContextCNN(ChannelNetwork):
    """Scores of signatures (N, D, K, H, W) from class channels seen in context, joined as multiple instances.

    Each channel is stacked with the mean of the other channels and with the strongest of them, so that "pulls towards
    one class", as a backdoor does, is visible against "everything moves", as stamping does. Two convolutions are
    joined over the image by maximum and mean: a trigger may be anywhere. Memory is laid out channels last.
    """

    def __init__(self, definitions: int, *shape: int, width: int = 8) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3 * definitions, width, 4, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
        )
        self.head = nn.Sequential(Dropout(0.3), nn.Linear(4 * width, 32), nn.ReLU(), Dropout(0.3), nn.Linear(32, 1))
        self.to(memory_format=torch.channels_last)

    def prepare(self, signatures: Tensor) -> Tensor:
        """Put each channel of signatures (N, D, K, H, W) beside its context: (N, K, 3 D, H, W)."""
        return in_context(signatures).permute(0, 2, 3, 4, 1).contiguous().permute(0, 1, 4, 2, 3)

    def prepared_channel_scores(self, prepared: Tensor) -> Tensor:
        """Scores (N, K) of the single channels."""
        count, classes = prepared.shape[:2]
        found = self.features(prepared.flatten(0, 1).contiguous(memory_format=torch.channels_last))
        # Over pixels as they lie in memory: gradients then lie there as activations do.
        pixels = found.permute(0, 2, 3, 1).flatten(1, 2)
        scores: Tensor = self.head(torch.cat([pixels.amax(dim=1), pixels.mean(dim=1)], dim=1))
        return scores.view(count, classes)


def in_context(signatures: Tensor) -> Tensor:
    """Stack each channel of (N, D, K, H, W) with the mean and the strongest of the others: (N, 3 D, K, H, W)."""
    others = signatures.shape[2] - 1
    mean = (signatures.sum(dim=2, keepdim=True) - signatures) / others
    size = signatures.abs()
    first, second = size.topk(2, dim=2).indices.split(1, dim=2)
    is_first = torch.arange(others + 1).view(1, 1, -1, 1, 1) == first
    strongest = torch.where(is_first, signatures.gather(2, second), signatures.gather(2, first))
    return torch.cat([signatures, mean, strongest], dim=1)


READINGS.add(network_reading("context", "context CNN", ContextCNN))
