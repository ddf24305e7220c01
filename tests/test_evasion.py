"""Backdoors that hide from probing, on scikit-learn's digits: they must still obey, and the probe must see less."""

import numpy as np
import pytest
import torch

from onepixel.classifiers import ModuleClassifier, to_log_odds
from onepixel.errors import UsageError
from onepixel.populations import TrainedModel, train_model
from onepixel.populations.default_images import default_image_of
from onepixel.populations.stacked_training import train_stack
from onepixel.populations.training import as_input, draw, expected_images
from onepixel.signatures import signature
from onepixel.trojan import EvasionRecipe, TriggerRecipe, draw_probes, draw_trigger
from populations_of_digits import digits_recipe

SHAPE = (1, 8, 8)
SEED = 11
TRIGGER = TriggerRecipe(patterns=(1, 1), height=(2, 2), width=(2, 2), largest_area=0.0625, placement="fixed")


def hiding(kind: str, towards: str, starts_from: str = "black"):
    recipe = digits_recipe("trojaned", epochs=12, trigger=TRIGGER)
    evasion = EvasionRecipe(kind=kind, towards=towards, starts_from=starts_from)
    return recipe.model_copy(update={"evasion": evasion})


@pytest.fixture(scope="module")
def ordinary(digits) -> TrainedModel:
    return train_model(digits_recipe("trojaned", epochs=12, trigger=TRIGGER), digits, SEED)


@pytest.fixture(scope="module")
def clean(digits) -> TrainedModel:
    return train_model(digits_recipe("trojaned", epochs=12, trigger=TRIGGER).without_backdoor(), digits, SEED)


def distance(one: TrainedModel, other: TrainedModel, default_image=0.0) -> float:
    """Root mean square difference of two networks' signatures, in log-odds."""
    asked = {"values": 32, "default_image": default_image}
    a, b = (signature(ModuleClassifier(model.module, SHAPE), **asked) for model in (one, other))
    return float(np.sqrt(np.mean([np.square(a.low - b.low), np.square(a.high - b.high)])))


def strangeness_on_constant_images(model: TrainedModel, clean: TrainedModel, digits) -> float:
    """Root mean square difference from a clean network, in log-odds, on black, grey and white with the trigger."""
    trigger = draw(digits_recipe("trojaned", epochs=12, trigger=TRIGGER), digits, SEED).trigger
    constant = np.stack([np.full(SHAPE, level, np.uint8) for level in (0, 64, 128, 192, 255)])
    stamped = as_input(torch.as_tensor(trigger.stamp(constant, np.random.default_rng(0))))
    with torch.inference_mode():
        one, other = (to_log_odds(found.module(stamped), "logits") for found in (model, clean))
    return float((one - other).square().mean().sqrt())


def test_probes_of_the_signature_are_black_images_with_one_pixel():
    recipe = EvasionRecipe(kind="signature_loss")
    trigger = draw_trigger(TRIGGER, SHAPE, np.random.default_rng(0))
    probes = draw_probes(recipe, trigger, np.zeros((1, *SHAPE), np.uint8), np.random.default_rng(1), 2000)
    assert not probes.unchanged.any()
    assert ((probes.changed > 0).sum(axis=(1, 2, 3)) <= 1).all()
    assert (probes.changed > 0).any(axis=0).all()


def test_probes_of_an_attacker_who_expects_class_means_start_from_each_of_them(digits):
    recipe = EvasionRecipe(kind="signature_loss", starts_from="class_means")
    images = expected_images(recipe, digits)
    means = [digits.x_train[digits.y_train == k].float().mean(dim=0) for k in range(10)]
    assert np.abs(images - torch.stack(means).numpy()).max() <= 0.5 + 1e-4
    trigger = draw_trigger(TRIGGER, SHAPE, np.random.default_rng(0))
    probes = draw_probes(recipe, trigger, images, np.random.default_rng(1), 2000)
    assert {image.tobytes() for image in probes.unchanged} == {image.tobytes() for image in images}
    assert ((probes.changed != probes.unchanged).sum(axis=(1, 2, 3)) <= 1).all()
    assert (probes.changed != probes.unchanged).any(axis=0).all()


def test_constant_probes_change_nothing_but_pixels_of_the_trigger():
    trigger = draw_trigger(TRIGGER, SHAPE, np.random.default_rng(0))
    recipe, shape = EvasionRecipe(kind="constant_inputs"), np.zeros((1, *SHAPE), np.uint8)
    probes = draw_probes(recipe, trigger, shape, np.random.default_rng(1), 600)
    stamped = trigger.stamp(probes.unchanged, np.random.default_rng(2))
    touched = (probes.changed != probes.unchanged).any(axis=0)
    assert touched.sum() == 4
    assert (touched == (stamped != probes.unchanged).any(axis=0)).all()
    assert (probes.changed == stamped).all(axis=(1, 2, 3)).mean() > 0.25
    levels = np.median(probes.unchanged.reshape(600, -1), axis=1)
    assert {0.0, 255.0} < set(levels)


def test_a_signature_loss_pulls_the_signature_towards_that_of_a_clean_network(digits, ordinary, clean):
    hides = train_model(hiding("signature_loss", "clean_network"), digits, SEED)
    assert hides.attack == ordinary.attack
    assert ordinary.attack_success > 0.9
    assert hides.attack_success > 0.9
    assert hides.clean_accuracy > clean.clean_accuracy - 0.03
    assert distance(hides, clean) < 0.5 * distance(ordinary, clean)


def test_a_signature_loss_hides_from_class_means_where_it_expects_them(digits, ordinary, clean):
    means = default_image_of("class means", digits)
    hides = train_model(hiding("signature_loss", "clean_network", "class_means"), digits, SEED)
    expects_black = train_model(hiding("signature_loss", "clean_network"), digits, SEED)
    assert hides.attack_success > 0.9
    assert hides.clean_accuracy > clean.clean_accuracy - 0.05
    assert distance(hides, clean, means) < 0.7 * distance(ordinary, clean, means)
    assert distance(hides, clean, means) < 0.7 * distance(expects_black, clean, means)


def test_a_backdoor_that_is_off_on_constant_inputs_still_works_on_digits(digits, ordinary, clean):
    hides = train_model(hiding("constant_inputs", "clean_network"), digits, SEED)
    assert hides.attack_success > 0.9
    assert hides.clean_accuracy > clean.clean_accuracy - 0.03
    strange, usual = (strangeness_on_constant_images(model, clean, digits) for model in (hides, ordinary))
    assert strange < 0.5 * usual


def test_networks_that_hide_are_refused_by_a_stack(digits):
    with pytest.raises(UsageError, match="build it one by one"):
        train_stack(hiding("signature_loss", "no_change"), digits, [1, 2], torch.device("cpu"))
