"""The papers' "Vanilla CNN (LeNet-5)" as a detector's network, on whole signatures and on single channels."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from onepixel.detectors.readings.channel_network import ChannelNetwork
from onepixel.detectors.readings.descent import Dropout
from onepixel.detectors.readings.table import READINGS
from onepixel.detectors.readings.training import network_reading


class VanillaCNN(nn.Module):
    """LeNet-5 with one output, or several, for maps (N, channels, H, W) of any size.

    The papers give no details. Chosen here: both convolutions padded by 2 so that 8 x 8 signatures fit too, ReLU,
    max pooling, dense layers of 120 and 84 units, dropout 0.3 before each. Memory is laid out channels last, as
    in the training of populations.
    """

    def __init__(self, channels: int, height: int, width: int, outputs: int = 1) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 6, 5, padding=2),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(6, 16, 5, padding=2),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.head = nn.Sequential(
            Dropout(0.3),
            nn.Linear(16 * (height // 4) * (width // 4), 120),
            nn.ReLU(),
            Dropout(0.3),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, outputs),
        )
        self.to(memory_format=torch.channels_last)

    def forward(self, maps: Tensor) -> Tensor:
        """Scores (N,), or (N, outputs) of several outputs."""
        found = self.features(maps.contiguous(memory_format=torch.channels_last))
        scores: Tensor = self.head(found).squeeze(1)
        return scores


class Instances(ChannelNetwork):
    """Each channel by itself, joined by log-mean-exp inside the loss (ours)."""

    def __init__(self, definitions: int, classes: int, height: int, width: int) -> None:
        super().__init__()
        self.network = VanillaCNN(definitions, height, width)

    def prepared_channel_scores(self, prepared: Tensor) -> Tensor:
        """Scores (N, K)."""
        scores: Tensor = self.network(prepared.flatten(0, 1))
        return scores.view(prepared.shape[:2])


class Channels(Instances):
    """Each channel a sample of its own in training, joined by the mean (ECCV 2020, section 5)."""

    def join(self, channel_scores: Tensor) -> Tensor:
        """Join channel scores (N, K) to scores (N,)."""
        return channel_scores.mean(dim=1)

    def loss(self, prepared: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Weighted binary cross-entropy over channels, each with its signature's label."""
        scores = self.prepared_channel_scores(prepared)
        wanted, weighted = labels[:, None].expand_as(scores), weights[:, None].expand_as(scores)
        return functional.binary_cross_entropy_with_logits(scores, wanted, weighted)


class Whole(ChannelNetwork):
    """All channels as one image (the papers' first way)."""

    def __init__(self, definitions: int, classes: int, height: int, width: int) -> None:
        super().__init__()
        self.network = VanillaCNN(definitions * classes, height, width)

    def prepared_channel_scores(self, prepared: Tensor) -> Tensor:
        """It has none."""
        raise NotImplementedError("a network that sees all channels at once scores no single one")

    def score(self, prepared: Tensor) -> Tensor:
        """Scores (N,)."""
        scores: Tensor = self.network(prepared.transpose(1, 2).flatten(1, 2))
        return scores


READINGS.add(network_reading("instances", "vanilla CNN, instances", Instances))
READINGS.add(network_reading("channels", "vanilla CNN, channels", Channels))
READINGS.add(network_reading("whole", "vanilla CNN, whole", Whole, scores_channels=False, shuffles_classes=True))
