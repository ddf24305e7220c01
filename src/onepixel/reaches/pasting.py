"""Many fillings at many places, each over its own images, as one batch."""

import torch
from torch import Tensor


def paste(images: Tensor, places: Tensor, fillings: Tensor, alpha: float = 1.0) -> Tensor:
    """Lay filling f over image f at place f; gradients flow to the fillings.

    Parameters
    ----------
    images : Tensor of shape (N, C, H, W)
    places : Tensor of shape (N, 4), int64
        Top, left, height, width; all of one height and width.
    fillings : Tensor of shape (N, C, h, w)
    alpha : float
        How much of a filling is mixed in.
    """
    height, width = fillings.shape[2:]
    if (height, width) == tuple(images.shape[2:]):
        return images + alpha * (fillings - images)
    numbers = torch.arange(len(images))[:, None, None]
    rows = (places[:, 0, None] + torch.arange(height))[:, :, None]
    columns = (places[:, 1, None] + torch.arange(width))[:, None, :]
    moved = fillings.permute(0, 2, 3, 1)
    if alpha != 1:
        before = images.permute(0, 2, 3, 1)[numbers, rows, columns]
        moved = before + alpha * (moved - before)
    return images.permute(0, 2, 3, 1).index_put((numbers, rows, columns), moved).permute(0, 3, 1, 2)


def cut(images: Tensor, place: tuple[int, int, int, int]) -> Tensor:
    """The windows (N, C, h, w) of images (N, C, H, W) at a place."""
    top, left, height, width = place
    return images[:, :, top : top + height, left : left + width]
