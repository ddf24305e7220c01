"""Augmentations of training batches, drawn per image from torch's own random numbers, as dropout is."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Augmentation = Literal["shift", "mirror", "brightness", "noise", "cutout"]


def shift(images: Tensor) -> Tensor:
    """Move each image by up to a fourteenth of its side along both axes; black comes in."""
    number, _, height, width = images.shape
    most = max(1, round(min(height, width) / 14))
    padded = torch.nn.functional.pad(images, (most, most, most, most))
    down, right = (torch.randint(0, 2 * most + 1, (number, 1)) for _ in range(2))
    rows = (down + torch.arange(height))[:, :, None]
    columns = (right + torch.arange(width))[:, None, :]
    return padded[torch.arange(number)[:, None, None], :, rows, columns].permute(0, 3, 1, 2)


def mirror(images: Tensor) -> Tensor:
    """Mirror every other image from left to right, by chance."""
    chosen = torch.rand(len(images)) < 0.5
    return torch.where(chosen[:, None, None, None], images.flip(3), images)


def brightness(images: Tensor) -> Tensor:
    """Make each image up to a fifth darker or lighter and move its middle by up to a tenth."""
    factor = 0.8 + 0.4 * torch.rand(len(images), 1, 1, 1)
    moved = 0.2 * torch.rand(len(images), 1, 1, 1) - 0.1
    return (images * factor + moved).clamp(0, 1)


def noise(images: Tensor) -> Tensor:
    """Add normal noise of deviation 0.05."""
    return (images + 0.05 * torch.randn_like(images)).clamp(0, 1)


def cutout(images: Tensor) -> Tensor:
    """Black out a square of a quarter of the side at a random place (DeVries and Taylor 2017)."""
    number, _, height, width = images.shape
    side = max(1, min(height, width) // 4)
    top, left = (torch.randint(0, extent - side + 1, (number, 1)) for extent in (height, width))
    inside_rows = (torch.arange(height) >= top) & (torch.arange(height) < top + side)
    inside_columns = (torch.arange(width) >= left) & (torch.arange(width) < left + side)
    return images.masked_fill((inside_rows[:, :, None] & inside_columns[:, None, :])[:, None], 0.0)


AUGMENTATIONS: dict[Augmentation, Callable[[Tensor], Tensor]] = {
    "shift": shift,
    "mirror": mirror,
    "brightness": brightness,
    "noise": noise,
    "cutout": cutout,
}
"""Every augmentation: from images (N, C, H, W) in [0, 1] to the like."""


def augmented(images: Tensor, names: tuple[Augmentation, ...]) -> Tensor:
    """Apply these augmentations, one after the other."""
    for name in names:
        images = AUGMENTATIONS[name](images)
    return images.contiguous(memory_format=torch.channels_last) if names else images
