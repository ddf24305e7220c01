"""A detector as a black box that takes images and gives boxes, seen as a classifier of the object in a window.

Any detector fits that answers as torchvision's do; nothing of it is looked into.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import box_iou

from onepixel.boxes.measures import SAME
from onepixel.boxes.objects import object_box
from onepixel.classifiers.base import Outputs, check_answers

Finds = Callable[[Sequence[Tensor]], Sequence[Mapping[str, Any]]]
"""From images (3, H, W) in [0, 1] to boxes (D, 4), labels (D,) from 1 on and scores (D,) of each."""

GREY = 0.5
LEAST = 1e-4
"""Probability that is left to a class of which nothing was found."""


class OutsideClassifier:
    """A black box as a `Classifier` of windows (3, S, S), each with an object in its middle; class 0 is the background.

    A window is put into the middle of a grey image. The probability of a class is the score of its surest box that is
    the object; what the scores leave of 1 is the background's.

    Parameters
    ----------
    finds : callable
        Such as a torchvision detector in eval mode.
    outputs : int
        K + 1.
    side : int
        Of the windows, pixels.
    canvas : int, optional
        Side of the grey image, pixels; twice the window's unless said.
    name : str

    Raises
    ------
    UndecidedError
        If its answers cannot be used; see `check_answers`.
    """

    device = torch.device("cpu")
    dtype = torch.float32
    outputs: Outputs = "probabilities"
    assumptions: tuple[str, ...] = ()

    def __init__(
        self, finds: Finds, outputs: int, side: int, canvas: int | None = None, name: str = "black box"
    ) -> None:
        self.finds = finds
        self.kinds = outputs
        self.side = side
        self.canvas = canvas or 2 * side
        self.input_shape = (3, side, side)
        self.name = name
        self.classes = check_answers(self)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Probabilities (N, K + 1) of windows (N, 3, S, S) in [0, 1]."""
        margin = (self.canvas - self.side) // 2
        canvases = images.new_full((len(images), 3, self.canvas, self.canvas), GREY)
        canvases[:, :, margin : margin + self.side, margin : margin + self.side] = images
        begin, end = (margin + edge for edge in object_box(self.side))
        box = torch.tensor([[begin, begin, end, end]])
        return torch.stack([self._distribution(found, box) for found in self.finds(list(canvases))])

    def _distribution(self, found: Mapping[str, Any], box: Tensor) -> Tensor:
        probabilities = torch.full((self.kinds,), LEAST)
        if len(found["labels"]):
            same = box_iou(found["boxes"].cpu().float(), box)[:, 0] >= SAME
            for label, score in zip(found["labels"][same].tolist(), found["scores"][same].tolist(), strict=True):
                probabilities[label] = max(float(probabilities[label]), score)
        probabilities[0] = max(LEAST, 1 - float(probabilities[1:].sum()))
        return probabilities / probabilities.sum()
