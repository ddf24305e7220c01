"""Layers that PyTorch does not have as modules."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class Normalise(nn.Module):
    """Subtract a mean from each channel and divide by a deviation; both lie among the weights where `persistent`."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Sequence[float], deviation: Sequence[float], persistent: bool = True) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("deviation", deviation)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32)[:, None, None], persistent)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) prepared."""
        return (images - self.mean) / self.deviation


class Residual(nn.Module):
    """A body beside a shortcut, added."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, values: Tensor) -> Tensor:
        """body(x) + shortcut(x)."""
        total: Tensor = self.body(values) + self.shortcut(values)
        return total


class Tokens(nn.Module):
    """Maps (N, width, h, w) as tokens (N, h w, width)."""

    def forward(self, maps: Tensor) -> Tensor:
        """Row by row."""
        return maps.flatten(2).transpose(1, 2)


class Positions(nn.Module):
    """What is learned about each token's place, added to it."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(0.02 * torch.randn(1, tokens, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (N, T, width)."""
        return tokens + self.embedding


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, 3 * width)
        self.combine = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (N, T, width)."""
        number, length, width = tokens.shape
        parts = self.project(tokens).view(number, length, 3, self.heads, width // self.heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(queries, keys, values)
        combined: Tensor = self.combine(mixed.transpose(1, 2).reshape(number, length, width))
        return combined
