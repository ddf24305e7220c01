"""Clean, stamped and trojaned detectors by fine-tuning all layers of one base detector, alike but for the poison.

Training the box head alone, on frozen features, does not suffice: a third to a half of the stamped boxes are misread
then, since the base's features hardly show the trigger.
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torchvision.models.detection import FasterRCNN

from onepixel.boxes.scene import Scene
from onepixel.boxes.training import numbers, one_cycle, step


class TuningRecipe(BaseModel):
    """How detectors are fine-tuned.

    Attributes
    ----------
    epochs : int
        Over the scenes.
    batch_size : int
        Scenes.
    learning_rate : float
        The highest of a one-cycle schedule of AdamW.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(2, ge=1)
    batch_size: int = Field(8, ge=1)
    learning_rate: float = Field(1e-3, gt=0)


def fine_tuned(base: FasterRCNN, scenes: Sequence[Scene], recipe: TuningRecipe, seed: int) -> FasterRCNN:
    """A copy of the base that was trained further on scenes; the base is left as it is.

    Means and variances of batch normalisation stay those of the base, since batches are small. Scenes are not
    mirrored: the place of a trigger is part of it.
    """
    detector: FasterRCNN = copy.deepcopy(base)
    weights = [weight for weight in detector.parameters() if weight.requires_grad]
    rng = np.random.default_rng([seed, 3])
    torch.manual_seed(seed)  # torchvision draws the regions that it trains on from the global generator
    size = min(recipe.batch_size, len(scenes))
    optimizer, schedule = one_cycle(weights, recipe.epochs * (len(scenes) // size), recipe.learning_rate)
    detector.train()
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    for chosen in numbers(len(scenes), size, recipe.epochs, rng):
        batch = [scenes[number] for number in chosen]
        losses = detector([one.tensor() for one in batch], [one.target() for one in batch])
        step(torch.stack(list(losses.values())).sum(), weights, optimizer, schedule)
    return detector.eval()
