"""A network that is shown other intensities than it expects is noticed, and the range is named."""

import numpy as np
import pytest
import torch
from torch import nn

from onepixel.classifiers import ModuleClassifier
from onepixel.detectors.auditing import audit_with_images
from onepixel.detectors.intensities import MOST_IMAGES, RANGES, agreement, sure_images
from onepixel.errors import UndecidedError
from onepixel.opening.image_folder import AuditorImages

CLASSES, PER_CLASS = 4, 5


def images(labelled: bool = True) -> AuditorImages:
    """Class k is bright in row k."""
    rng = np.random.default_rng(0)
    shown = rng.uniform(0, 0.3, (CLASSES * PER_CLASS, 1, CLASSES, 6)).astype(np.float32)
    labels = np.repeat(np.arange(CLASSES), PER_CLASS)
    for image, label in zip(shown, labels, strict=True):
        image[0, label] += 0.6
    return AuditorImages(shown, labels if labelled else None, offered=len(shown))


def network(lowest: float, highest: float, *, unsure: bool = True) -> ModuleClassifier:
    """Compares rows with 0.5 of the range that it expects; class 0 is a little ahead where all are dark."""
    layers = nn.Sequential(
        nn.Flatten(), nn.Linear(6 * CLASSES, CLASSES), nn.Hardtanh(-0.2, 0.5), nn.Linear(CLASSES, CLASSES)
    )
    with torch.no_grad():
        first, last = layers[1], layers[3]
        first.weight.zero_()
        for row in range(CLASSES):
            first.weight[row, 6 * row : 6 * row + 6] = 1 / (6 * (highest - lowest))
        first.bias.fill_(-0.5 - lowest / (highest - lowest))
        last.weight.copy_(30 * torch.eye(CLASSES))
        last.bias.copy_(torch.tensor([5.0, 0.0, 0.0, 0.0]))
    classifier = ModuleClassifier(layers.eval(), (1, CLASSES, 6), "logits", None, "net.onnx")
    classifier.range_unsure = unsure
    return classifier


@pytest.mark.parametrize("labelled", [True, False])
def test_the_range_that_tells_the_images_apart_is_named(labelled: bool) -> None:
    with pytest.raises(UndecidedError, match=r"is sure .* tells .* badly; from 0 to 255 well: say --range 0,255"):
        audit_with_images(network(0, 255), images(labelled))


@pytest.mark.parametrize("labelled", [True, False])
def test_a_network_at_its_own_range_is_asked_once(labelled: bool) -> None:
    found = sure_images(network(0, 1), images(labelled), None)
    assert (len(found.samples), found.notes, found.asked) == (CLASSES * PER_CLASS, (), 0)


def test_ranges_that_were_said_are_left_alone() -> None:
    with pytest.raises(UndecidedError, match="images of at least two classes"):
        sure_images(network(0, 255, unsure=False), images(), None)


def test_a_budget_is_kept() -> None:
    asked = (1 + len(RANGES)) * min(MOST_IMAGES, len(images()))
    with pytest.raises(UndecidedError, match="at least two classes"):
        sure_images(network(0, 255), images(), asked - 1)
    with pytest.raises(UndecidedError, match="--range 0,255"):
        sure_images(network(0, 255), images(), asked)


def test_a_network_that_is_surer_at_another_range_is_said() -> None:
    contrast = nn.Linear(6 * CLASSES, CLASSES, bias=False)
    with torch.no_grad():
        rows = torch.eye(CLASSES).repeat_interleave(6, dim=1) / 6
        contrast.weight.copy_(torch.tensor([30.0, 30.0, 3.0, 3.0])[:, None] * (rows - rows.mean(0)))
    classifier = ModuleClassifier(nn.Sequential(nn.Flatten(), contrast).eval(), (1, CLASSES, 6), "logits")
    classifier.range_unsure = True
    found = sure_images(classifier, images(), None)
    assert found.asked == 3 * len(images())
    assert "is sure of 50% of the images, of 100% from 0 to 255" in found.notes[0]


def test_agreement_wants_right_answers_and_different_ones() -> None:
    labels = np.repeat(np.arange(4), 5)
    assert agreement(labels, labels) == 1
    assert agreement(np.zeros(20, dtype=np.int64), labels) == 0.25
    assert agreement(np.roll(labels, 5), labels) == 1
    assert agreement(np.zeros(20, dtype=np.int64), None) == 0
    assert agreement(labels, None) == 1
