"""Pictures that work wherever they lie are textures, and their lead counts only as far as it is more than that."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from onepixel import as_classifier, reach
from onepixel.classifiers import Classifier
from onepixel.detectors.reach_parts import parts_of, target_values
from onepixel.reaches import Blend, Patch, Reach, sample_images
from onepixel.reaches.textures import moves, noises

SIDE, TARGET, PERIOD = 16, 3, 4


class Bends(nn.Module):
    """Four classes by which quarter is bright, and the last one by something faint over the whole image."""

    def __init__(self, patterns: torch.Tensor, gain: float) -> None:
        super().__init__()
        self.gain = gain
        self.register_buffer("patterns", patterns)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        quarters = images[:, 0, 12:].reshape(len(images), 4, 4, 4).mean((1, 3))
        seen = (images[:, None, 0, :12] * self.patterns).mean((2, 3)).square().sum(1).sqrt()
        return 12 * quarters + self.gain * seen[:, None] * torch.eye(4)[TARGET]


def stripes() -> torch.Tensor:
    """Sine and cosine: stripes of one width, wherever they begin."""
    columns = 2 * torch.pi * torch.arange(SIDE) / PERIOD
    return torch.stack([columns.sin(), columns.cos()])[:, None].expand(2, 12, SIDE)


def one_picture() -> torch.Tensor:
    return torch.randn(1, 12, SIDE, generator=torch.Generator().manual_seed(5))


def of(patterns: torch.Tensor) -> Classifier:
    return as_classifier(Bends(patterns, 200.0).eval(), input_shape=(1, SIDE, SIDE), outputs="logits")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    drawn = np.zeros((24, 1, SIDE, SIDE), dtype=np.float32)
    for number in range(24):
        quarter = 4 * (number % 4)
        drawn[number, 0, 12:, quarter : quarter + 4] = 0.6 + 0.005 * number
    return drawn


def bent(patterns: torch.Tensor, images: np.ndarray, **options: int) -> Reach:
    classifier = of(patterns)
    samples = sample_images(classifier, images)
    return reach(classifier, samples, family=Blend(0.1), pairs=False, natural=False, **options)


def values(found: Reach) -> dict[str, float]:
    return {part.name: part.value for part in parts_of({"blend": found})}


def test_stripes_are_a_texture_and_a_picture_is_none(images):
    texture, picture = values(bent(stripes(), images)), values(bent(one_picture(), images))
    assert min(texture["blend_all_lead"], picture["blend_all_lead"]) > 5
    assert texture["blend_all_untextured"] < texture["blend_all_lead"] / 2
    assert picture["blend_all_untextured"] == picture["blend_all_lead"]


def test_what_is_said_of_a_texture_is_what_the_classifier_answers(images):
    classifier = of(stripes())
    samples = sample_images(classifier, images)
    found = reach(classifier, samples, family=Blend(0.1), pairs=False, natural=False)
    best = int(found.findings(None, TARGET)[0])
    fresh = samples.split()[1]
    shown = torch.as_tensor(samples.images[fresh[samples.labels[fresh] != TARGET]])

    def mean(picture: torch.Tensor) -> float:
        odds = classifier(0.9 * shown + 0.1 * picture)
        others = odds[:, [label for label in range(4) if label != TARGET]].logsumexp(1)
        return float((odds[:, TARGET] - others).clamp(-15, 15).mean())

    moved = min(mean(picture) for picture in moves(torch.as_tensor(found.fillings[best])))
    noise = np.mean([mean(picture) for picture in noises((1, SIDE, SIDE))])
    assert float(found.texture[best]) == pytest.approx(moved - noise, abs=1e-3)


def test_every_target_has_its_own_lead_less_its_own_texture(images):
    found = bent(stripes(), images)
    whole = target_values("blend_all_lead", {"blend": found})
    counted = target_values("blend_all_untextured", {"blend": found})
    texture = {int(target): float(one) for target, one in zip(found.target, found.texture, strict=True)}
    assert set(counted) == set(range(4))
    assert counted == {target: whole[target] - max(0.0, texture[target]) for target in whole}


def test_nothing_is_taken_off_where_textures_were_not_looked_for(images):
    found = bent(stripes(), images)
    before = values(replace(found, texture=np.full(len(found), np.nan, dtype=np.float32)))
    assert before["blend_all_untextured"] == before["blend_all_lead"]


def test_a_budget_leaves_enough_for_the_farthest_picture_s_texture(images):
    found = bent(stripes(), images, budget=2000)
    assert found.queries <= 2000
    assert np.isfinite(found.texture[0])


def test_patches_are_no_textures(images):
    classifier = of(one_picture())
    found = reach(classifier, sample_images(classifier, images), family=Patch(3), natural=False)
    assert np.isnan(found.texture).all()
    assert "patch_all_untextured" not in values(found)
