"""Warps: what they do to images, and that the search finds the one that a network obeys."""

import numpy as np
import pytest
import torch
from torch import nn

from onepixel import as_classifier, reach
from onepixel.classifiers import Classifier
from onepixel.detectors.auditing import place_within
from onepixel.detectors.exhibit import Exhibit, sentences
from onepixel.detectors.universal import UniversalDetector
from onepixel.errors import BudgetError, UsageError
from onepixel.reaches import Patch, Reach, Warp, sample_images
from onepixel.warping import displaced, warped

SIDE, BAR, OBEYED, TARGET = 16, 7, 10, 3


class ObeysAWarp(nn.Module):
    """Four classes by which quarter is bright; a bar that is drawn in column 7 is class 3 where column 10 has it."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        quarters = images[:, 0, 12:].reshape(len(images), 4, 4, 4).mean((1, 3))
        bar = images[:, 0, 2:10, OBEYED].mean(1)
        return 12 * quarters + 30 * bar[:, None] * torch.eye(4)[TARGET]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return as_classifier(ObeysAWarp().eval(), input_shape=(1, SIDE, SIDE), outputs="logits", name="a network")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    drawn = np.zeros((24, 1, SIDE, SIDE), dtype=np.float32)
    drawn[:, 0, 2:10, BAR] = 1
    for number in range(24):
        quarter = 4 * (number % 4)
        drawn[number, 0, 12:, quarter : quarter + 4] = 0.8 + 0.005 * number
    return drawn


def test_a_field_says_where_each_pixel_takes_its_value_from():
    image = torch.arange(12.0).view(1, 1, 3, 4)
    field = torch.zeros(1, 2, 3, 4)
    assert torch.allclose(displaced(image, field), image, atol=1e-5)
    field[:, 0], field[:, 1] = 1, -0.5
    moved = displaced(image, field)[0, 0]
    assert torch.allclose(moved[1], torch.tensor([3.0, 4, 5, 5]), atol=1e-5)
    assert torch.allclose(moved[0], torch.tensor([1.0, 2, 3, 3]), atol=1e-5)


def test_points_in_the_middle_move_nothing_and_at_the_end_all_they_may():
    image = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(warped(image, torch.full((2, 2, 4, 4), 0.5), 3.0), image, atol=1e-5)
    far = torch.full((2, 2, 4, 4), 0.5)
    far[:, 0] = 1
    assert torch.allclose(warped(image, far, 2.0)[..., :6], image[..., 2:], atol=1e-5)


def test_the_warp_that_a_network_obeys_is_found_and_can_be_tried(classifier, images, tmp_path):
    samples = sample_images(classifier, images)
    found = reach(classifier, samples, family=Warp(4.0), search="gradient")
    assert int(found.target[0]) == TARGET
    assert found.log_odds[0] > found.log_odds[1] + 5
    assert np.isnan(found.natural).all()
    change = found.best(None, TARGET)
    after = classifier(torch.as_tensor(change.apply(samples.images))).argmax(1)
    assert (after == TARGET).all()
    assert (classifier(torch.as_tensor(samples.images)).argmax(1).numpy() == samples.labels).all()
    found.save(tmp_path / "reach.safetensors")
    again = Reach.load(tmp_path / "reach.safetensors").best(None, TARGET)
    assert np.array_equal(again.apply(samples.images), change.apply(samples.images))


def test_a_patch_of_the_same_network_keeps_its_own_kind_of_change(classifier, images):
    found = reach(classifier, sample_images(classifier, images), family=Patch(3), search="gradient")
    assert found.displacement == 0
    assert found.best(None, TARGET).filling.shape == (1, 3, 3)


def test_warps_are_refused_where_there_is_no_gradient_and_where_they_make_no_sense(classifier, images):
    with pytest.raises(UsageError, match="by gradient alone"):
        reach(classifier, sample_images(classifier, images), family=Warp(), search="composed")
    for wrong in (dict(displacement=0.0), dict(displacement=float("nan")), dict(points=1)):
        with pytest.raises(UsageError, match="2 points"):
            Warp(**wrong)


def test_without_the_budget_for_warps_patches_are_judged_alone(classifier, images):
    samples = sample_images(classifier, images)
    with pytest.raises(BudgetError):
        reach(classifier, samples, family=Warp(), search="gradient", budget=500)
    detector = UniversalDetector.shipped()
    assert set(detector.measure(classifier, samples, search="gradient")) == {"patch", "blend", "warp"}
    assert "warp" not in detector.measure(classifier, samples, search="gradient", budget=3000)
    assert "warp_all_reached" in detector.judge(classifier, samples, search="gradient").parts


def test_an_audit_says_that_a_warp_changes_the_whole_image_and_names_no_patch(classifier, images):
    samples = sample_images(classifier, images)
    found = reach(classifier, samples, family=Warp(4.0), search="gradient")
    whole = found.best(None, TARGET).place
    assert whole == (0, 0, SIDE, SIDE)
    assert place_within(whole, classifier) is None
    assert place_within((0, 1, 3, 3), classifier) == (0, 1, 3, 3)
    exhibit = Exhibit(images[:1], images[:1], np.eye(4)[:1], np.eye(4)[3:], TARGET, None, found.family)
    assert sentences(exhibit) == ["image 1: unchanged class 0 with 100.0 %, with the change class 3 with 100.0 %"]
