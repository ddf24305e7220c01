"""ResNet-8 for 28 x 28 grey images (He et al. 2016, in the CIFAR layout with one block per stage)."""

import torch
from torch import Tensor, nn

from onepixel.architectures.table import ARCHITECTURES, Architecture


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions with batch norm beside a shortcut (1 x 1 convolution where the shape changes)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, maps: Tensor) -> Tensor:
        """Feature maps (N, after, H / stride, W / stride)."""
        maps = self.residual(maps).add_(self.shortcut(maps))
        return torch.relu_(maps)


class ResNet8(nn.Module):
    """One 3 x 3 convolution, three residual blocks (16, 32 and 64 maps), average pooling, one dense layer.

    The papers say "ResNet-8" and no more. Eight counts the convolutions of the main path and the dense layer;
    widths and strides are those of the CIFAR ResNets.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            BasicBlock(16, 16, 1),
            BasicBlock(16, 32, 2),
            BasicBlock(32, 64, 2),
            nn.AdaptiveAvgPool2d(1),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(64, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, 1, 28, 28)."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


ARCHITECTURES.add(Architecture("resnet8", ResNet8, (1, 28, 28)))
