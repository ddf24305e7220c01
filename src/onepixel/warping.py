"""How images are warped: every pixel takes its value from a little further along; gradients flow to how far."""

import torch
from torch import Tensor
from torch.nn import functional


def displaced(images: Tensor, field: Tensor) -> Tensor:
    """Resample images bilinearly, kept to the image.

    Parameters
    ----------
    images : Tensor of shape (N, C, H, W)
    field : Tensor of shape (1 or N, 2, H, W)
        From how many pixels further right, and further down, each pixel takes its value.
    """
    height, width = images.shape[2:]
    rows, columns = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    across = 2 * (columns + field[:, 0]) / max(1, width - 1) - 1
    down = 2 * (rows + field[:, 1]) / max(1, height - 1) - 1
    places = torch.stack([across, down], dim=-1).clamp(-1, 1).expand(len(images), -1, -1, -1)
    return functional.grid_sample(images, places, mode="bilinear", align_corners=True)


def field_between(points: Tensor, height: int, width: int) -> Tensor:
    """Displacements (F, 2, height, width) from those of a coarse grid (F, 2, k, k), bicubically in between."""
    return functional.interpolate(points, size=(height, width), mode="bicubic", align_corners=True)


def warped(images: Tensor, fillings: Tensor, displacement: float) -> Tensor:
    """Warp each image by a filling of its own.

    Parameters
    ----------
    images : Tensor of shape (N, C, H, W)
    fillings : Tensor of shape (N, 2, k, k)
        Points of a grid, in [0, 1]: 0.5 stays where it is, 0 and 1 are moved by the largest displacement.
    displacement : float
        The largest displacement of a point along each axis, pixels.
    """
    return displaced(images, field_between(displacement * (2 * fillings - 1), *images.shape[2:]))
