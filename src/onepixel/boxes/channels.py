"""How far single channels of single cells drive a box head, from regions of real objects: one map of each class.

Figure 7 puts one value into all channels of a cell at once, from a mean region, which no image would give. Here each
channel is changed by itself, from regions of objects that the detector recognises, and a cell's rises are summed.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.models.detection import FasterRCNN

from onepixel.boxes.regions import RegionClassifier, RegionRange, region_features
from onepixel.boxes.scene import BACKGROUND, Scene
from onepixel.errors import UndecidedError
from onepixel.signatures import signature

VALUES = 3
"""Values of each channel: the lowest, the middle and the highest that it takes."""

OBJECTS = 4
"""Objects of each class whose regions are changed."""

LEAST = 1e-3
"""Rises below this count as this, so that they have a logarithm."""


def channel_rises(
    detector: FasterRCNN, regions: RegionRange, scenes: Sequence[Scene], objects: int = OBJECTS
) -> NDArray[np.float32]:
    """Rises (K + 1, h, w) of each class's log-odds, summed over channels, mean over objects of all other classes.

    Parameters
    ----------
    detector : torchvision.models.detection.FasterRCNN
    regions : RegionRange
        The detector's own, see `measure_regions`.
    scenes : sequence of Scene
    objects : int
        Of each class, the first that the detector recognises.

    Raises
    ------
    UndecidedError
        If the detector recognises no objects, or those of one class alone.
    """
    features, labels = region_features(detector, scenes)
    low, high = (torch.as_tensor(edge)[:, None, None] for edge in (regions.low, regions.high))
    scaled = ((features - low) / (high - low)).clamp(0, 1)
    classifier = RegionClassifier(detector, regions, channels="each")
    shaped = scaled.reshape(-1, *classifier.input_shape)
    right = (torch.cat([classifier(part) for part in shaped.split(256)]).argmax(1) == labels).numpy()
    known = labels.numpy()
    chosen = [np.flatnonzero(right & (known == label))[:objects] for label in range(1, classifier.classes)]
    if sum(bool(len(own)) for own in chosen) < 2:
        raise UndecidedError("The detector recognises objects of fewer than two classes in these scenes.")
    numbers = np.concatenate(chosen)
    channels, height, width = features.shape[1:]
    found = np.zeros((len(numbers), classifier.classes, height, width), dtype=np.float32)
    for row, number in enumerate(numbers):
        one = signature(classifier, values=VALUES, inclusive=True, default_image=shaped[number].numpy())
        rise = np.maximum(one.high - one.base[:, None, None], 0)
        found[row] = rise.reshape(-1, channels, height, width).sum(axis=1)
    others = [known[numbers] != label for label in range(classifier.classes)]
    return np.stack([found[mine, label].mean(axis=0) for label, mine in enumerate(others)])


def excess(rises: NDArray[np.floating], clean: NDArray[np.floating]) -> NDArray[np.floating]:
    """By how much rises (K, h, w) of each class but the background exceed those of clean detectors (N, K + 1, h, w).

    In natural logarithms, less the mean over a class's cells, so that neither a detector's scale nor a class's counts,
    but single cells.
    """
    logs = [np.log(np.maximum(one, LEAST)) for one in (rises, clean)]
    more = (logs[0] - logs[1].mean(axis=0))[BACKGROUND + 1 :]
    return more - more.mean(axis=(1, 2), keepdims=True)
