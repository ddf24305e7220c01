"""The box head behind RoI pooling as a classifier of regions, whose one-pixel signature is 7 x 7 (ICLR 2020, A.9).

A region's features have no natural black and white. `RegionRange` holds the range that each channel really takes; a
region is scaled by it, so that [0, 1] means the same as for images and every engine for signatures applies.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from onepixel.boxes.made_scenes import texture
from onepixel.boxes.scene import Scene
from onepixel.classifiers.module import ModuleClassifier
from onepixel.classifiers.wrappers import WRAPPERS, Wrapper
from onepixel.errors import UsageError
from onepixel.files import atomic_path
from onepixel.signatures import Signature, signature

Channels = Literal["tied", "each"]
"""Whether one value is put into all channels of a cell, as figure 7 suggests, or into one channel of it."""

TAILS = 0.001
"""So much of what a channel takes lies below its range, and so much above: single outliers would stretch it."""

BACKGROUNDS = 24
"""Made backgrounds that ranges are measured on where there are no scenes."""

FORMAT = "onepixel-regions-1"


@dataclass(frozen=True)
class RegionRange:
    """What regions of a detector look like behind RoI pooling.

    Attributes
    ----------
    low, high : array of shape (C,), float32
        The range of each channel; the value grid runs from one to the other.
    means : array of shape (K + 1, C, h, w), float32
        The mean region of each class in the units of the range, [0, 1]; the first is the background's. A class without
        a region has the background's.
    counts : tuple of int
        How many regions each mean is of.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    means: NDArray[np.float32]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        channels = self.low.shape
        fits = self.means.ndim == 4 and self.means.shape[1:2] == channels and len(self.means) == len(self.counts)
        if self.high.shape != channels or not fits or not bool((self.high > self.low).all()):
            raise UsageError("A range of regions needs (C,) low below high, and means (K + 1, C, h, w).")

    @property
    def default_region(self) -> NDArray[np.float32]:
        """I_o (C, h, w) in [0, 1]: the mean region of the background."""
        return self.means[0]

    def save(self, path: str | Path) -> None:
        """Write one safetensors file."""
        arrays = {"low": self.low, "high": self.high, "means": self.means, "counts": np.array(self.counts)}
        with atomic_path(path) as temporary:
            temporary.write_bytes(save(arrays, {"format": FORMAT}))

    @classmethod
    def load(cls, path: str | Path) -> "RegionRange":
        """Read what `save` wrote.

        Raises
        ------
        UsageError
            If the file is damaged or something else.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                if (file.metadata() or {}).get("format") != FORMAT:
                    raise UsageError(f"{path} holds no range of regions.")
                arrays = {name: file.get_tensor(name) for name in ("low", "high", "means", "counts")}
        except (OSError, SafetensorError) as error:
            raise UsageError(f"{path} holds no range of regions.") from error
        return cls(arrays["low"], arrays["high"], arrays["means"], tuple(int(n) for n in arrays["counts"]))

    def to_dict(self) -> dict[str, Any]:
        """The range in JSON types, without the means, for what is saved with a signature."""
        rounded = {name: [round(float(one), 5) for one in getattr(self, name)] for name in ("low", "high")}
        return {**rounded, "counts": list(self.counts)}


def measure_regions(detector: FasterRCNN, scenes: Sequence[Scene] = ()) -> RegionRange:
    """Measure what regions look like: those of given objects by class, and proposals that touch none.

    Parameters
    ----------
    detector : torchvision.models.detection.FasterRCNN
    scenes : sequence of Scene
        Without scenes, made backgrounds stand in, and all means are the background's.
    """
    outputs = check_detector(detector)
    chosen = list(scenes) or backgrounds(shorter_side(detector))
    features, labels = region_features(detector, chosen)
    flat = features.movedim(1, 0).flatten(1)
    low, high = (torch.quantile(sampled(flat), part, dim=1) for part in (TAILS, 1 - TAILS))
    high = torch.maximum(high, low + 1e-3)
    scaled = ((features - low[:, None, None]) / (high - low)[:, None, None]).clamp(0, 1)
    own = [scaled[labels == label] for label in range(outputs)]
    background = own[0].mean(0) if len(own[0]) else scaled.mean(0)
    means = torch.stack([regions.mean(0) if len(regions) else background for regions in own])
    return RegionRange(low.numpy(), high.numpy(), means.numpy(), tuple(len(regions) for regions in own))


def sampled(flat: Tensor, most: int = 200_000) -> Tensor:
    """Every so many-th number of each row, so that a quantile of them is cheap."""
    return flat[:, :: max(1, flat.shape[1] // most)]


@torch.inference_mode()
def region_features(detector: FasterRCNN, scenes: Sequence[Scene]) -> tuple[Tensor, Tensor]:
    """Features (R, C, h, w) of given objects and of proposals that touch none, and their labels (R,)."""
    detector.eval()
    features, labels = [], []
    for scene in scenes:
        images, targets = detector.transform([scene.tensor()], [scene.target()])
        levels = as_levels(detector.backbone(images.tensors))
        proposals, _ = detector.rpn(images, levels)
        boxes, own = targets[0]["boxes"], targets[0]["labels"]
        free = away_from(proposals[0], boxes)[: max(4, len(boxes))]
        features.append(detector.roi_heads.box_roi_pool(levels, [torch.cat([boxes, free])], images.image_sizes))
        labels.append(torch.cat([own, torch.zeros(len(free), dtype=torch.long)]))
    return torch.cat(features).float(), torch.cat(labels)


def away_from(proposals: Tensor, boxes: Tensor, most: float = 0.1) -> Tensor:
    """The proposals that share little with any of the boxes."""
    if not len(boxes):
        return proposals
    from torchvision.ops import box_iou

    return proposals[box_iou(proposals, boxes).amax(1) < most]


def backgrounds(side: int) -> list[Scene]:
    """Made backgrounds without objects."""
    empty = np.zeros((0, 4), dtype=np.float32), np.zeros(0, dtype=np.int64)
    return [Scene(texture(side, np.random.default_rng([number])), *empty) for number in range(BACKGROUNDS)]


def as_levels(levels: Any) -> dict[str, Tensor]:
    """A backbone's maps by name; one without a pyramid gives a single one."""
    return {"0": levels} if isinstance(levels, Tensor) else dict(levels)


def shorter_side(detector: FasterRCNN) -> int:
    """The shorter side in pixels that the detector scales images to."""
    return int(min(detector.transform.min_size))


def check_detector(detector: Any) -> int:
    """See that this is a Faster R-CNN whose box head can be read, and return its outputs, K + 1.

    Raises
    ------
    UsageError
        If it is anything else.
    """
    if not isinstance(detector, FasterRCNN):
        raise UsageError(f"Expected torchvision's FasterRCNN but got {type(detector).__name__}.")
    scores = getattr(detector.roi_heads.box_predictor, "cls_score", None)
    if not isinstance(scores, nn.Linear):
        raise UsageError("The detector's box head does not end as torchvision's do, in a dense layer cls_score.")
    return int(scores.out_features)


class RegionHead(nn.Module):
    """From a scaled region to the scores of K + 1 classes, the background first.

    Parameters
    ----------
    detector : torchvision.models.detection.FasterRCNN
        Whose layers it shares.
    regions : RegionRange
    channels : {"tied", "each"}
        "each" lays a region (C, h, w) out as a grey image (1, C * h, w), so that a pixel is one channel of one cell.
    """

    def __init__(self, detector: FasterRCNN, regions: RegionRange, channels: Channels) -> None:
        super().__init__()
        self.box_head = detector.roi_heads.box_head
        self.cls_score = detector.roi_heads.box_predictor.cls_score
        self.region = tuple(int(size) for size in regions.means.shape[1:])
        self.channels = channels
        low, high = (torch.as_tensor(edge)[:, None, None] for edge in (regions.low, regions.high))
        self.low: Tensor
        self.span: Tensor
        self.register_buffer("low", low)
        self.register_buffer("span", high - low)

    def forward(self, regions: Tensor) -> Tensor:
        """Logits (N, K + 1) of regions in [0, 1]."""
        if self.channels == "each":
            regions = regions.reshape(-1, *self.region)
        scores: Tensor = self.cls_score(self.box_head(regions * self.span + self.low))
        return scores


class RegionClassifier(ModuleClassifier):
    """A detector's box head as a `Classifier` of regions (C, 7, 7) in [0, 1]; class 0 is the background.

    Parameters
    ----------
    detector : torchvision.models.detection.FasterRCNN
    regions : RegionRange, optional
        Measured on made backgrounds unless given; see `measure_regions`.
    channels : {"tied", "each"}
    name : str, optional

    Raises
    ------
    UsageError
        If `detector` is no Faster R-CNN, or the regions are those of another one.
    """

    def __init__(
        self,
        detector: FasterRCNN,
        regions: RegionRange | None = None,
        channels: Channels = "tied",
        name: str | None = None,
    ) -> None:
        outputs = check_detector(detector)
        if channels not in ("tied", "each"):
            raise UsageError(f'Expected channels "tied" or "each" but got {channels!r}.')
        measured = measure_regions(detector) if regions is None else regions
        if len(measured.means) != outputs:
            raise UsageError(f"These regions are of {len(measured.means)} classes, and the detector has {outputs}.")
        self.regions = measured
        self.channels = channels
        count, height, width = measured.means.shape[1:]
        shape = (count, height, width) if channels == "tied" else (1, count * height, width)
        super().__init__(RegionHead(detector, measured, channels), shape, "logits", None, name or "box head")

    @property
    def default_region(self) -> NDArray[np.float32]:
        """The default region in the shape that this classifier takes."""
        return self.regions.default_region.reshape(self.input_shape)


def region_signature(
    classifier: RegionClassifier, *, values: int = 256, every_class: bool = False, engine: str = "auto"
) -> Signature:
    """The 7 x 7 signature of a box head, from the mean region of the background; the range is in its `details`.

    Parameters
    ----------
    classifier : RegionClassifier
    values : int
        V, the size of the value grid from each channel's lowest to its highest value.
    every_class : bool
        Start from the mean region of every class and join the signatures, instead of from the background's alone.
    engine : str
    """
    starts = classifier.regions.means if every_class else classifier.regions.default_region[None]
    shaped = starts.reshape(-1, *classifier.input_shape)
    found = signature(classifier, values=values, inclusive=True, default_image=shaped, engine=engine)
    details = {**found.details, "channels": classifier.channels, "regions": classifier.regions.to_dict()}
    return replace(found, details=details)


WRAPPERS.add(Wrapper("regions", RegionClassifier))
