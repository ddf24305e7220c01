"""torchvision's Faster R-CNNs by their own names, without weights: what a stranger's state dict is put into."""

from functools import partial
from typing import Any

from torchvision.models import detection
from torchvision.models.detection import FasterRCNN

from onepixel.boxes.table import DETECTOR_ARCHITECTURES, DetectorArchitecture

SIDES = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": 320,
    "fasterrcnn_mobilenet_v3_large_fpn": 800,
    "fasterrcnn_resnet50_fpn": 800,
    "fasterrcnn_resnet50_fpn_v2": 800,
}
"""The shorter side to which each scales its images unless said otherwise, pixels."""


def torchvision_network(name: str, outputs: int, shorter_side: int) -> FasterRCNN:
    """A freshly initialised detector of torchvision's; nothing is downloaded."""
    sides: dict[str, Any] = {"min_size": shorter_side, "max_size": max(2 * shorter_side, 1333 * shorter_side // 800)}
    built: FasterRCNN = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=outputs, **sides)
    return built


for _name, _side in SIDES.items():
    DETECTOR_ARCHITECTURES.add(DetectorArchitecture(_name, partial(torchvision_network, _name), _side))
