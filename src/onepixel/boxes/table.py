"""The table of object detectors' architectures: what a row says, and the table itself."""

from collections.abc import Callable
from dataclasses import dataclass

from torchvision.models.detection import FasterRCNN

from onepixel.registry import Table


@dataclass(frozen=True)
class DetectorArchitecture:
    """A kind of Faster R-CNN by name.

    Attributes
    ----------
    name : str
    build : callable
        From the number of outputs of the box head, K classes and the background, and the shorter side in pixels that
        images are scaled to, to a freshly initialised detector. It downloads nothing.
    shorter_side : int
        The shorter side unless said otherwise.
    """

    name: str
    build: Callable[[int, int], FasterRCNN]
    shorter_side: int


DETECTOR_ARCHITECTURES = Table[DetectorArchitecture]("architecture of an object detector", "onepixel.boxes")
"""Every architecture of an object detector by its name."""
