"""A detector as a classifier of objects: an auditor thinks in images of things, not in regions of features.

A window shows one object with a little of its surroundings. The detector looks at it where the object is known to be,
so that patches, responses and reaches work on detectors as they do on classifiers of images.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from onepixel.boxes.regions import as_levels, check_detector, shorter_side
from onepixel.boxes.scene import Scene
from onepixel.classifiers.module import ModuleClassifier
from onepixel.opening.image_folder import AuditorImages

SHARE = 0.75
"""The object's side as part of its window's."""

SMALLEST, LARGEST = 48, 128
"""Sides of windows, pixels; larger ones cost much and show little more."""

STEP = 16
"""Sides are multiples of this, as the strides of maps are."""


def window_side(detector: FasterRCNN) -> int:
    """The side of the windows that suit a detector: three eighths of the shorter side of its images."""
    side = STEP * round(shorter_side(detector) * 3 / 8 / STEP)
    return min(LARGEST, max(SMALLEST, side))


def object_box(side: int) -> tuple[float, float]:
    """Where the object begins and ends in a window of that side, in rows and in columns alike."""
    margin = side * (1 - SHARE) / 2
    return margin, side - margin


class ObjectModule(nn.Module):
    """From windows to the scores of K + 1 classes for the object in the middle, the background first.

    Parameters
    ----------
    detector : torchvision.models.detection.FasterRCNN
        Whose layers it shares.
    side : int
        Of the windows, pixels.
    """

    def __init__(self, detector: FasterRCNN, side: int) -> None:
        super().__init__()
        self.backbone = detector.backbone
        self.box_roi_pool = detector.roi_heads.box_roi_pool
        self.box_head = detector.roi_heads.box_head
        self.cls_score = detector.roi_heads.box_predictor.cls_score
        self.side = side
        transform = detector.transform
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.tensor(transform.image_mean)[:, None, None])
        self.register_buffer("deviation", torch.tensor(transform.image_std)[:, None, None])

    def features(self, windows: Tensor) -> Tensor:
        """Features (N, C, 7, 7) of the objects in windows (N, 3, S, S) in [0, 1]."""
        levels = as_levels(self.backbone((windows - self.mean) / self.deviation))
        begin, end = object_box(self.side)
        box = windows.new_tensor([[begin, begin, end, end]])
        sizes = [(self.side, self.side)] * len(windows)
        pooled: Tensor = self.box_roi_pool(levels, [box] * len(windows), sizes)
        return pooled

    def scores(self, features: Tensor) -> Tensor:
        """Logits (N, K + 1) of features."""
        logits: Tensor = self.cls_score(self.box_head(features))
        return logits

    def forward(self, windows: Tensor) -> Tensor:
        """Logits (N, K + 1) of windows (N, 3, S, S) in [0, 1]."""
        return self.scores(self.features(windows))


class ObjectClassifier(ModuleClassifier):
    """A detector as a `Classifier` of windows (3, S, S), each with an object in its middle; class 0 is the background.

    Parameters
    ----------
    detector : torchvision.models.detection.FasterRCNN
    side : int, optional
        Of the windows, pixels; see `window_side`.
    name : str, optional

    Raises
    ------
    UsageError
        If `detector` is no Faster R-CNN.
    """

    module: ObjectModule

    def __init__(self, detector: FasterRCNN, side: int | None = None, name: str | None = None) -> None:
        check_detector(detector)
        chosen = side or window_side(detector)
        super().__init__(ObjectModule(detector, chosen), (3, chosen, chosen), "logits", None, name or "detector")


def object_windows(scenes: Sequence[Scene], side: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Windows (N, 3, S, S) in [0, 1] of all objects of scenes, and their labels (N,).

    What lies outside the image is filled with its edge.
    """
    windows, labels = [], []
    for scene in scenes:
        for box, label in zip(scene.boxes, scene.labels, strict=True):
            windows.append(window(scene, box, side))
            labels.append(int(label))
    return np.stack(windows), np.array(labels, dtype=np.int64)


def window(scene: Scene, box: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """The window (3, S, S) of one object."""
    left, top, right, bottom = (float(edge) for edge in box)
    height, width = (bottom - top) / SHARE, (right - left) / SHARE
    row, column = (top + bottom - height) / 2, (left + right - width) / 2
    rows = spread(row, height, scene.size[0])
    columns = spread(column, width, scene.size[1])
    cut = torch.as_tensor(scene.image[:, rows][:, :, columns].copy())[None].float() / 255
    resized = nn.functional.interpolate(cut, (side, side), mode="bilinear", antialias=True, align_corners=False)
    return resized[0].clamp(0, 1).numpy()


def spread(first: float, length: float, size: int) -> NDArray[np.int64]:
    """The numbers of the rows from `first` on, kept inside an image of that size."""
    count = max(1, round(length))
    return np.clip(round(first) + np.arange(count), 0, size - 1)


def auditor_objects(
    scenes: Sequence[Scene], names: Sequence[str], side: int, files: Sequence[str] = (), most: int = 240
) -> AuditorImages:
    """The objects of scenes as an auditor's images, at most so many, with the classes' names as folders."""
    chosen: list[Scene] = []
    called: list[str] = []
    count = 0
    for number, scene in enumerate(scenes):
        if count >= most:
            break
        chosen.append(scene)
        count += len(scene.labels)
        file = files[number] if files else f"scene {number + 1}"
        called += [f"{file}, object {place + 1}" for place in range(len(scene.labels))]
    windows, labels = object_windows(chosen, side)
    every = sum(len(scene.labels) for scene in scenes)
    return AuditorImages(windows, labels - 1, tuple(called), tuple(names), every)


def called(label: int, names: Sequence[str]) -> str:
    """What a label 0 .. K is called."""
    return "background" if label == 0 else str(names[label - 1]) if label <= len(names) else f"class {label}"


def state_of(module: Any) -> dict[str, Tensor]:
    """A module's weights, each by itself, so that files of them hold no more than they show."""
    return {name: weight.detach().clone().contiguous() for name, weight in module.state_dict().items()}
