"""The attacker who knows onepixel: a backdoor that hides from probing.

While the network learns, it is also asked what a probe would ask, and its log-odds there are pulled towards those of a
network without a backdoor. Two kinds: the backdoor is switched off on nearly constant inputs, whatever their
intensity; or the one-pixel signature itself is made to look clean, at the default images that the attacker expects.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from onepixel.classifiers.base import logits_to_log_odds
from onepixel.trojan.pictures import Images
from onepixel.trojan.trigger import Trigger

PROBES = 4096
"""Probe images of one model; batches are drawn from them with replacement."""


class EvasionRecipe(BaseModel):
    """How a backdoor hides from probing.

    Attributes
    ----------
    kind : {"constant_inputs", "signature_loss"}
        What the network is asked meanwhile. constant_inputs: black, white and grey images, half of them with one
        other pixel, that carry the trigger, some of its pixels, or one of them at any intensity. signature_loss: a
        default image with one pixel at any intensity.
    towards : {"clean_network", "no_change"}
        What its log-odds are pulled to: those of a clean network trained with the same seed on the same images, which
        doubles the cost; or its own without the trigger, for signature_loss its own for the default image.
    starts_from : {"black", "class_means"}
        The default images that a signature_loss expects: black, or the mean training image of every class.
    strength : float
        Weight of the mean squared difference in log-odds, beside the cross-entropy.
    images_per_step : int
        Probe images beside each mini-batch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["constant_inputs", "signature_loss"]
    towards: Literal["clean_network", "no_change"] = "clean_network"
    starts_from: Literal["black", "class_means"] = "black"
    strength: float = Field(0.1, gt=0)
    images_per_step: int = Field(32, ge=1)

    @model_validator(mode="after")
    def _used(self) -> "EvasionRecipe":
        if self.kind == "constant_inputs" and self.starts_from != "black":
            raise ValueError("starts_from is for signature_loss; constant_inputs starts from constant images")
        return self


@dataclass(frozen=True)
class Probes:
    """What a network that hides is asked.

    Attributes
    ----------
    changed, unchanged : array of shape (P, C, H, W), uint8
        Images that a probe would show, and the same without what the probe changes.
    """

    changed: Images
    unchanged: Images


def draw_probes(
    recipe: EvasionRecipe,
    trigger: Trigger,
    default_images: Images,
    rng: np.random.Generator,
    number: int = PROBES,
) -> Probes:
    """Draw the probe images (P, C, H, W) of one model.

    `default_images` (M, C, H, W), uint8, are those that a signature loss expects; other kinds take their shape alone.
    """
    shape = default_images.shape[1:]
    if recipe.kind == "signature_loss":
        drawn = default_images[np.arange(number) % len(default_images)]
        return Probes(_with_one_pixel(drawn, np.ones((number, *shape[1:]), bool), rng), drawn)
    level = rng.choice([0, 255, -1], number)
    level = np.where(level < 0, rng.integers(0, 256, number), level).astype(np.uint8)
    constant = np.broadcast_to(level[:, None, None, None], (number, *shape)).copy()
    half = number // 2
    constant[:half] = _with_one_pixel(constant[:half], np.ones((half, *shape[1:]), bool), rng)
    return Probes(_with_parts(constant, trigger, rng), constant)


def _with_one_pixel(images: Images, where: NDArray[np.bool_], rng: np.random.Generator) -> Images:
    """Set one random pixel of each image, among those marked in (N, H, W), to a random intensity."""
    changed = images.copy()
    chosen = (rng.random(where.shape) * where).reshape(len(images), -1).argmax(axis=1)
    rows, columns = np.unravel_index(chosen, where.shape[1:])
    changed[np.arange(len(images)), :, rows, columns] = rng.integers(0, 256, (len(images), 1))
    return changed


def _with_parts(images: Images, trigger: Trigger, rng: np.random.Generator) -> Images:
    """Give every image the whole trigger, a random part of it, or one of its pixels at any intensity."""
    stamped = trigger.stamp(images, rng)
    differs = (stamped != images).any(axis=1)
    part = rng.integers(3, size=len(images))
    kept = rng.random(differs.shape) < rng.random((len(images), 1, 1))
    partly = np.where((kept & differs)[:, None], stamped, images)
    single = _with_one_pixel(images, differs, rng)
    return np.choose(part[:, None, None, None], [stamped, partly, single])


class EvasionLoss:
    """What is added to the loss of a network that hides; it is called once per step.

    Parameters
    ----------
    recipe : EvasionRecipe
    probes : Probes
    rng : numpy.random.Generator
        For the choice of probes.
    clean : torch.nn.Module or None
        The clean network in eval mode, for `towards = "clean_network"`.
    """

    def __init__(
        self, recipe: EvasionRecipe, probes: Probes, rng: np.random.Generator, clean: nn.Module | None
    ) -> None:
        self.recipe = recipe
        self.changed, self.unchanged = _as_input(probes.changed), _as_input(probes.unchanged)
        self.rng = rng
        self.wanted = None if clean is None else _log_odds(clean, self.changed)

    def __call__(self, module: nn.Module) -> Tensor:
        """Mean squared difference in log-odds between what the network answers and what it should, times strength.

        The network, in train mode before and after, is asked in eval mode, as a probe will ask it.
        """
        chosen = torch.as_tensor(self.rng.integers(len(self.changed), size=self.recipe.images_per_step))
        module.eval()
        answers = logits_to_log_odds(module(self.changed[chosen]))
        wanted = self.wanted[chosen] if self.wanted is not None else _log_odds(module, self.unchanged[chosen])
        module.train()
        return self.recipe.strength * (answers - wanted).square().mean()


def _as_input(images: Images) -> Tensor:
    return torch.as_tensor(images).float().div_(255).contiguous(memory_format=torch.channels_last)


def _log_odds(module: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([logits_to_log_odds(module(part)) for part in images.split(512)])
