"""The stacked engine: as exact as one network after another, for networks that differ in their weights alone."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import onepixel
from examples import NETWORKS, a_few_pixels, bold_network, default_image
from onepixel.architectures import architecture
from onepixel.classifiers import ModuleClassifier
from onepixel.errors import BudgetError, UsageError
from onepixel.signatures import Plan, signatures_of, value_grid
from onepixel.signatures.stacked import images_per_pass, stacked


def networks(name: str, count: int, dtype: torch.dtype = torch.float64) -> list[ModuleClassifier]:
    shape = architecture(name).input_shape
    return [ModuleClassifier(bold_network(name, seed).to(dtype), shape, name=f"{name} {seed}") for seed in range(count)]


@pytest.mark.parametrize("kind", ["black", "noise"])
@pytest.mark.parametrize("name", NETWORKS)
def test_stacked_signatures_equal_those_made_one_by_one(name: str, kind: str) -> None:
    classifiers = networks(name, 3)
    shape = classifiers[0].input_shape
    image, mask = default_image(kind, shape), a_few_pixels(shape)
    together = signatures_of(classifiers, values=4, default_image=image, pixels=mask, batch_size=5)
    for classifier, found in zip(classifiers, together, strict=True):
        alone = onepixel.signature(classifier, values=4, default_image=image, pixels=mask, engine="exhaustive")
        np.testing.assert_allclose(found.high, alone.high, rtol=0, atol=1e-9)
        np.testing.assert_allclose(found.low, alone.low, rtol=0, atol=1e-9)
        np.testing.assert_allclose(found.base, alone.base, rtol=0, atol=1e-9)
        assert (found.settings, found.classifier, found.engine) == (alone.settings, classifier.name, "stacked")


def test_stacked_signatures_equal_those_made_one_by_one_in_float32() -> None:
    classifiers = networks("lenet5", 4, torch.float32)
    mask = a_few_pixels((1, 28, 28))
    for classifier, found in zip(classifiers, signatures_of(classifiers, values=8, pixels=mask), strict=True):
        alone = onepixel.signature(classifier, values=8, pixels=mask, engine="exhaustive")
        for definition in ("max", "largest_change"):
            np.testing.assert_allclose(found.values(definition), alone.values(definition), rtol=0, atol=1e-6)


def test_stacking_keeps_normalisation_and_probabilities() -> None:
    modules = [nn.Sequential(bold_network("digits_cnn", seed), nn.Softmax(1)) for seed in range(2)]
    classifiers = [ModuleClassifier(m, (1, 8, 8), "probabilities", ((0.2,), (0.5,))) for m in modules]
    for classifier, found in zip(classifiers, signatures_of(classifiers, values=4, pixels=3), strict=True):
        alone = onepixel.signature(classifier, values=4, pixels=3, engine="exhaustive")
        np.testing.assert_allclose(found.values("max"), alone.values("max"), rtol=0, atol=1e-6)


def test_more_models_than_are_stacked_at_once_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onepixel.signatures.stacked.MODELS_AT_ONCE", 2)
    found = signatures_of(networks("digits_cnn", 5), values=2, pixels=4)
    assert [one.classifier for one in found] == [f"digits_cnn {seed}" for seed in range(5)]


def test_modules_are_left_in_the_mode_they_were_in() -> None:
    classifiers = networks("alexnet", 2)
    classifiers[0].module.train()
    signatures_of(classifiers, values=2, pixels=14)
    assert classifiers[0].module.training
    assert not classifiers[1].module.training


class Sized(nn.Module):
    """Multiplies by a number that nobody can see from outside."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(16, 3)
        self.factor = factor

    def forward(self, images: Tensor) -> Tensor:
        return self.factor * self.layer(images.flatten(1))


class Branching(nn.Module):
    """Looks at the data before it decides what to do, although it always decides the same."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits = self.layer(images.flatten(1))
        return -logits if bool(logits.isnan().any()) else logits * 1


def convolutional(**options: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3, **options), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (architecture("lenet5").build(10), architecture("resnet8").build(10), "differs from number 1.*in its class"),
        (architecture("lenet5").build(10), architecture("lenet5").build(9), "in its layers"),
        (convolutional(padding=1), convolutional(padding=2), "in its layers"),
        (convolutional(), convolutional().double(), "in its weights"),
        (Sized(1.0), Sized(3.0), r"number 2 \(Sized\) answers differently when stacked"),
    ],
)
def test_models_of_different_architecture_are_refused(one: nn.Module, other: nn.Module, message: str) -> None:
    shape = (1, 4, 4) if isinstance(one, Sized) else (1, 28, 28)
    with pytest.raises(UsageError, match=message):
        signatures_of([ModuleClassifier(one, shape), ModuleClassifier(other, shape)], values=2, pixels=14)


def test_models_that_differ_in_settings_are_refused() -> None:
    module = bold_network("digits_cnn")
    plain, normalized = (ModuleClassifier(module, (1, 8, 8), normalize=n) for n in (None, ((0.5,), (0.5,))))
    with pytest.raises(UsageError, match="in its normalisation"):
        signatures_of([plain, normalized], values=2)


def test_module_with_data_dependent_control_flow_is_refused() -> None:
    classifiers = [ModuleClassifier(Branching(), (1, 4, 4)) for _ in range(2)]
    with pytest.raises(UsageError, match=r"Branching cannot be stacked: .*control flow"):
        signatures_of(classifiers, values=2)


def test_no_classifier_at_all_is_refused() -> None:
    with pytest.raises(UsageError, match="no classifier"):
        signatures_of([])


def test_batches_bound_images_times_models() -> None:
    classifiers = networks("digits_cnn", 4, torch.float32)
    plan = Plan.make(classifiers[0], value_grid(9), np.zeros((1, 8, 8), np.float32), np.ones((8, 8), dtype=bool))
    assert images_per_pass(plan, 4) == 512 // 4
    assert images_per_pass(plan, 5000) == 1


def test_budget_below_the_cells_is_refused_before_anything_is_asked() -> None:
    classifiers = networks("digits_cnn", 2)
    mask = np.ones((8, 8), dtype=bool)
    plan = Plan.make(classifiers[0], value_grid(9), np.zeros((1, 8, 8), np.float32), mask, budget=64 * 9)
    with pytest.raises(BudgetError, match="needs 577 queries"):
        stacked(classifiers, plan, lambda count: None)
