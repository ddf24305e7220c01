"""The papers' "Vanilla CNN (LeNet-5)" as a detector's network, and two ways to run it on single channels."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Reading = Literal["whole", "channels", "instances"]
"""How a signature is read: all channels as one image; each channel a sample; channels as multiple instances."""


class VanillaCNN(nn.Module):
    """LeNet-5 with one output, for maps (N, channels, H, W) of any size.

    The papers give no details. Chosen here: both convolutions padded by 2 so that 8 x 8 signatures fit too, ReLU,
    max pooling, dense layers of 120 and 84 units, dropout 0.3 before each. Memory is laid out channels last, as
    in the training of populations.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
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
            nn.Dropout(0.3),
            nn.Linear(16 * (height // 4) * (width // 4), 120),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, 1),
        )
        self.to(memory_format=torch.channels_last)

    def forward(self, maps: Tensor) -> Tensor:
        """Scores (N,)."""
        found = self.features(maps.contiguous(memory_format=torch.channels_last))
        scores: Tensor = self.head(found).squeeze(1)
        return scores


class SignatureNetwork(nn.Module):
    """Scores of signatures (N, D, K, H, W), D definitions stacked, under one of the three readings.

    "whole" gives one score per signature. "channels" and "instances" give each class channel a score of its own, by
    one network shared by all channels; a signature's score joins them, by the mean for "channels" (each channel was
    a sample of its own in training) and by log-mean-exp for "instances" (a backdoor shows in few channels).
    """

    def __init__(self, reading: Reading, definitions: int, classes: int, height: int, width: int) -> None:
        super().__init__()
        self.reading = reading
        self.network = VanillaCNN(definitions * (classes if reading == "whole" else 1), height, width)

    def prepare(self, signatures: Tensor) -> Tensor:
        """Bring signatures (N, D, K, H, W) into the order (N, K, D, H, W): class by class."""
        return signatures.transpose(1, 2)

    def channel_scores(self, prepared: Tensor) -> Tensor:
        """Scores (N, K) of the single channels; not for "whole"."""
        scores: Tensor = self.network(prepared.flatten(0, 1))
        return scores.view(prepared.shape[:2])

    def score(self, prepared: Tensor) -> Tensor:
        """Scores (N,)."""
        if self.reading == "whole":
            scores: Tensor = self.network(prepared.transpose(1, 2).flatten(1, 2))
            return scores
        return self.join(self.channel_scores(prepared))

    def forward(self, signatures: Tensor) -> Tensor:
        """Scores (N,) of signatures (N, D, K, H, W)."""
        return self.score(self.prepare(signatures))

    def join(self, channel_scores: Tensor) -> Tensor:
        """Join channel scores (N, K) to scores (N,)."""
        if self.reading == "channels":
            return channel_scores.mean(dim=1)
        return torch.logsumexp(channel_scores, dim=1) - math.log(channel_scores.shape[1])

    def loss(self, prepared: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Weighted binary cross-entropy; for "channels" every channel is a sample with its signature's label."""
        if self.reading == "channels":
            scores = self.channel_scores(prepared)
            wanted, weighted = labels[:, None].expand_as(scores), weights[:, None].expand_as(scores)
            return functional.binary_cross_entropy_with_logits(scores, wanted, weighted)
        return functional.binary_cross_entropy_with_logits(self.score(prepared), labels, weights)
