"""The `Dataset` value: images as one uint8 array each for training and testing."""

from dataclasses import dataclass

import torch
from torch import Tensor

from onepixel.errors import UsageError


@dataclass(frozen=True)
class Dataset:
    """A classification data set that fits in memory.

    Attributes
    ----------
    name : str
    x_train, x_test : Tensor of shape (N, C, H, W), uint8
        Intensity 255 is 1.
    y_train, y_test : Tensor of shape (N,), int64
        Labels 0 .. K - 1.
    """

    name: str
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor

    def __post_init__(self) -> None:
        for part, x, y in (("train", self.x_train, self.y_train), ("test", self.x_test, self.y_test)):
            if x.ndim != 4 or x.dtype != torch.uint8:
                raise UsageError(f"{self.name}: x_{part} must be uint8 (N, C, H, W) but is {x.dtype} {tuple(x.shape)}.")
            if y.shape != x.shape[:1] or len(x) == 0:
                raise UsageError(f"{self.name}: {len(x)} {part} images do not go with {len(y)} labels.")
        if self.x_train.shape[1:] != self.x_test.shape[1:]:
            raise UsageError(f"{self.name}: training and test images have different shapes.")

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, channels, height, width = self.x_train.shape
        return channels, height, width

    @property
    def classes(self) -> int:
        """K: one more than the largest label."""
        return int(torch.maximum(self.y_train.max(), self.y_test.max())) + 1
