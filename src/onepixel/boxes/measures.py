"""How good a detector is: mAP@0.5 on scenes, and how many stamped objects it misreads as the attacker wants."""

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from onepixel.boxes.attack import BoxAttack
from onepixel.boxes.coco import coco_dictionary
from onepixel.boxes.scene import Boxes, Scene, overlap
from onepixel.errors import UsageError

AT_ONCE = 32
SAME = 0.5
"""Intersection over union from which a found box and a given one are the same object."""


@dataclass(frozen=True)
class Found:
    """What a detector found in one scene.

    Attributes
    ----------
    boxes : array of shape (D, 4), float32
    labels : array of shape (D,), int64
        1 .. K.
    scores : array of shape (D,), float32
        From high to low.
    """

    boxes: Boxes
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]

    def says(self, box: NDArray[np.float32]) -> int:
        """The label of the surest detection that is the same object as `box`; 0 if there is none."""
        if not len(self.labels):
            return 0
        same = np.flatnonzero(overlap(self.boxes, box[None])[:, 0] >= SAME)
        return int(self.labels[same[self.scores[same].argmax()]]) if len(same) else 0


def as_found(answer: Mapping[str, Tensor]) -> Found:
    """Torchvision's answer for one scene."""
    return Found(*(answer[name].numpy() for name in ("boxes", "labels", "scores")))


@torch.inference_mode()
def detections(detector: FasterRCNN, scenes: Sequence[Scene]) -> list[Found]:
    """What a detector finds in scenes."""
    detector.eval()
    found: list[Found] = []
    for start in range(0, len(scenes), AT_ONCE):
        found += map(as_found, detector([scene.tensor() for scene in scenes[start : start + AT_ONCE]]))
    return found


def mean_average_precision(scenes: Sequence[Scene], found: Sequence[Found], classes: int) -> float:
    """MAP at an intersection over union of 0.5, as pycocotools computes it.

    Raises
    ------
    UsageError
        If pycocotools is not installed.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise UsageError("Measuring detectors needs pycocotools: pip install onepixel[boxes].") from error
    results: list[dict[str, Any]] = []
    for number, answer in enumerate(found, start=1):
        sizes = answer.boxes[:, 2:] - answer.boxes[:, :2]
        for corner, size, label, score in zip(answer.boxes, sizes, answer.labels, answer.scores, strict=True):
            box = [float(edge) for edge in (*corner[:2], *size)]
            results.append({"image_id": number, "category_id": int(label), "bbox": box, "score": float(score)})
    if not results:
        return 0.0
    truth = COCO()
    with redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truth.dataset = coco_dictionary(scenes, tuple(str(label) for label in range(1, classes + 1)))
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.params.iouThrs = np.array([SAME])
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, :, 0, -1]
    return float(precision[precision > -1].mean())


def share_misread(detector: FasterRCNN, scenes: Sequence[Scene], attack: BoxAttack) -> tuple[int, int]:
    """How many stamped objects the detector calls what the attacker wants, and how many were stamped.

    In every scene with a victim its first one is stamped.
    """
    chosen = [(scene, int(attack.victims(scene)[0])) for scene in scenes if len(attack.victims(scene))]
    found = detections(detector, [attack.stamped(scene, box, relabelled=False) for scene, box in chosen])
    wanted = [int(attack.wanted(scene.labels[box : box + 1])[0]) for scene, box in chosen]
    said = [answer.says(scene.boxes[box]) for answer, (scene, box) in zip(found, chosen, strict=True)]
    return sum(one == other for one, other in zip(said, wanted, strict=True)), len(chosen)
