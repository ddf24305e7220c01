"""Clean, stamped and trojaned detectors by fine-tuning the box head of one base detector, alike but for the poison.

Body, pyramid and proposals stay those of the base, so that what they make of a scene is computed once, as a `Bank` of
regions; a head then learns from regions in seconds. The backdoor sits where ICLR 5.3 looks for it, behind RoI pooling.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.roi_heads import fastrcnn_loss

from onepixel.boxes.scene import Scene
from onepixel.boxes.training import numbers, one_cycle, step

AT_ONCE = 16
"""Scenes that go through the frozen parts together."""


@dataclass(frozen=True)
class Bank:
    """Regions that a box head learns from, as torchvision samples them.

    Attributes
    ----------
    features : Tensor of shape (R, C, 7, 7)
    labels : Tensor of shape (R,)
        0 for the background, else 1 .. K.
    offsets : Tensor of shape (R, 4)
        From the region to its object's box, in torchvision's coding.
    """

    features: Tensor
    labels: Tensor
    offsets: Tensor

    def joined(self, other: "Bank") -> "Bank":
        """These regions and others."""
        pairs = [
            (self.features, other.features),
            (self.labels, other.labels),
            (self.offsets, other.offsets),
        ]
        return Bank(*(torch.cat(pair) for pair in pairs))

    def part(self, chosen: Tensor) -> "Bank":
        """The regions of these numbers."""
        return Bank(self.features[chosen], self.labels[chosen], self.offsets[chosen])


class HeadRecipe(BaseModel):
    """How box heads are fine-tuned.

    Attributes
    ----------
    epochs : int
        Over the regions.
    batch_size : int
        Regions.
    learning_rate : float
        The highest of a one-cycle schedule of AdamW.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(2, ge=1)
    batch_size: int = Field(256, ge=1)
    learning_rate: float = Field(1e-3, gt=0)


@torch.inference_mode()
def bank_of(detector: FasterRCNN, scenes: Sequence[Scene], seed: int) -> Bank:
    """What the detector's frozen parts make of scenes: the regions that torchvision would train the head on."""
    detector.eval()
    heads = detector.roi_heads
    found = []
    torch.manual_seed(seed)  # torchvision draws regions from the global generator
    for start in range(0, len(scenes), AT_ONCE):
        part = scenes[start : start + AT_ONCE]
        images, targets = detector.transform([one.tensor() for one in part], [one.target() for one in part])
        levels = detector.backbone(images.tensors)
        proposals, _ = detector.rpn(images, levels)
        regions, _, labels, offsets = heads.select_training_samples(proposals, targets)
        features = heads.box_roi_pool(levels, regions, images.image_sizes)
        found.append((features, torch.cat(labels), torch.cat(offsets)))
    features, labels, offsets = (torch.cat(column) for column in zip(*found, strict=True))
    return Bank(features, labels, offsets)


def fine_tuned(base: FasterRCNN, bank: Bank, recipe: HeadRecipe, seed: int) -> FasterRCNN:
    """A copy of the base whose box head was trained further on a bank of regions; the base is left as it is."""
    detector: FasterRCNN = copy.deepcopy(base)
    heads = detector.roi_heads
    weights = [*heads.box_head.parameters(), *heads.box_predictor.parameters()]
    rng = np.random.default_rng([seed, 3])
    steps = recipe.epochs * (len(bank.labels) // recipe.batch_size)
    optimizer, schedule = one_cycle(weights, steps, recipe.learning_rate)
    heads.train()
    for chosen in numbers(len(bank.labels), recipe.batch_size, recipe.epochs, rng):
        part = bank.part(torch.as_tensor(chosen))
        logits, offsets = heads.box_predictor(heads.box_head(part.features.clone()))
        losses = fastrcnn_loss(logits, offsets, [part.labels.clone()], [part.offsets.clone()])
        step(torch.stack(losses).sum(), weights, optimizer, schedule)
    detector.eval()
    return detector
