"""`Scene`: an image with boxes around its objects, which is what an object detector is trained and tested on."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onepixel.errors import UsageError

Boxes = NDArray[np.float32]

BACKGROUND = 0
"""The label that torchvision's detectors give to what is no object; classes are 1 .. K."""


@dataclass(frozen=True)
class Scene:
    """One image and its objects.

    Attributes
    ----------
    image : array of shape (3, H, W), uint8
    boxes : array of shape (B, 4), float32
        Left, top, right and bottom in pixels.
    labels : array of shape (B,), int64
        Classes 1 .. K.
    """

    image: NDArray[np.uint8]
    boxes: Boxes
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[0] != 3 or self.image.dtype != np.uint8:
            raise UsageError(f"A scene needs a uint8 image (3, H, W) but got {self.image.dtype} {self.image.shape}.")
        if self.boxes.shape != (len(self.labels), 4):
            raise UsageError(f"{len(self.labels)} labels do not go with boxes of shape {self.boxes.shape}.")

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.image.shape[1], self.image.shape[2]

    def tensor(self) -> Tensor:
        """The image (3, H, W) in [0, 1], float32."""
        return torch.as_tensor(self.image).float() / 255

    def target(self) -> dict[str, Tensor]:
        """The objects as torchvision's detectors take them in training."""
        return {"boxes": torch.as_tensor(self.boxes).float(), "labels": torch.as_tensor(self.labels).long()}


def overlap(boxes: Boxes, others: Boxes) -> NDArray[np.float32]:
    """Intersection over union (A, B) of boxes (A, 4) and others (B, 4)."""
    corner = np.maximum(boxes[:, None, :2], others[None, :, :2])
    opposite = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.clip(opposite - corner, 0, None), axis=2)
    areas = [np.prod(np.clip(group[:, 2:] - group[:, :2], 0, None), axis=1) for group in (boxes, others)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    return np.asarray(shared / np.maximum(union, 1e-9), dtype=np.float32)
