"""A network that all class channels share, and how a score is made of what it says about each."""

import math
from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

from onepixel.detectors.readings.table import Reader


class ChannelNetwork(Reader):
    """Scores class channels by one network, and joins them by log-mean-exp: multiple instances.

    A backdoor shows in few channels, so that the highest score counts most. In training, signatures are prepared once
    (`prepare`) and cut into batches afterwards.
    """

    def prepare(self, signatures: Tensor) -> Tensor:
        """Bring signatures (N, D, K, H, W) into the order (N, K, C, H, W): class by class, C = D unless overridden."""
        return signatures.transpose(1, 2)

    @abstractmethod
    def prepared_channel_scores(self, prepared: Tensor) -> Tensor:
        """Scores (N, K) of the single channels of prepared signatures."""

    def channel_scores(self, signatures: Tensor) -> Tensor:
        """Scores (N, K) of the single channels."""
        return self.prepared_channel_scores(self.prepare(signatures))

    def join(self, channel_scores: Tensor) -> Tensor:
        """Join channel scores (N, K) to scores (N,)."""
        return torch.logsumexp(channel_scores, dim=1) - math.log(channel_scores.shape[1])

    def score(self, prepared: Tensor) -> Tensor:
        """Scores (N,) of prepared signatures."""
        return self.join(self.prepared_channel_scores(prepared))

    def forward(self, signatures: Tensor) -> Tensor:
        """Scores (N,)."""
        return self.score(self.prepare(signatures))

    def loss(self, prepared: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Weighted binary cross-entropy."""
        return functional.binary_cross_entropy_with_logits(self.score(prepared), labels, weights)
