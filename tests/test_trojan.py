import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onepixel.errors import UsageError
from onepixel.trojan import AttackRecipe, TriggerRecipe, draw_attack, draw_extras, draw_trigger
from onepixel.trojan.patches import draw_pattern

SHAPE = (1, 28, 28)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(st.integers(0, 10_000), st.sampled_from(["random", "photographs"]))
def test_patterns_keep_to_the_largest_area_of_the_recipe(seed, source):
    recipe = TriggerRecipe(source=source)
    _, h, w = draw_pattern(recipe, SHAPE, rng(seed)).shape
    assert h * w <= 0.03 * 28 * 28
    assert recipe.height[0] <= h <= recipe.height[1]
    assert recipe.width[0] <= w <= recipe.width[1]


def test_a_recipe_whose_smallest_pattern_is_too_large_is_refused():
    with pytest.raises(UsageError, match="covers at most"):
        draw_trigger(TriggerRecipe(height=(9, 9), width=(9, 9)), SHAPE, rng())


@pytest.mark.parametrize("placement", ["fixed", "local", "global"])
def test_placement_moves_the_pattern_exactly_as_far_as_its_name_allows(placement):
    recipe = TriggerRecipe(patterns=(1, 1), height=(3, 3), width=(3, 3), placement=placement, jitter=2)
    trigger = draw_trigger(recipe, SHAPE, rng(3))
    stamped = trigger.stamp(np.zeros((400, *SHAPE), np.uint8), rng(1))
    rows = [np.flatnonzero(image.any(axis=(0, 2))).min() for image in stamped]
    spread = max(rows) - min(rows)
    assert {"fixed": spread == 0, "local": 2 <= spread <= 4, "global": spread > 15}[placement]


def test_stamping_leaves_its_argument_alone_and_changes_only_the_patch():
    images = rng().integers(0, 256, (5, *SHAPE), dtype=np.uint8)
    before = images.copy()
    trigger = draw_trigger(TriggerRecipe(patterns=(1, 1), height=(4, 4), width=(4, 4)), SHAPE, rng())
    stamped = trigger.stamp(images, rng())
    assert (images == before).all()
    assert 0 < (stamped != images).sum(axis=(1, 2, 3)).max() <= 16


def test_fresh_patterns_differ_from_image_to_image():
    recipe = TriggerRecipe(patterns=(1, 1), fresh_patterns=True, placement="fixed", height=(4, 4), width=(4, 4))
    stamped = draw_trigger(recipe, SHAPE, rng()).stamp(np.zeros((2, *SHAPE), np.uint8), rng())
    assert (stamped[0] != stamped[1]).any()


def test_resizing_each_image_gives_several_sizes():
    recipe = TriggerRecipe(patterns=(1, 1), resize_each_image=True, placement="fixed", height=(3, 6), width=(3, 6))
    stamped = draw_trigger(recipe, SHAPE, rng(2)).stamp(np.zeros((50, *SHAPE), np.uint8), rng())
    assert len({(image > 0).any(axis=(0, 2)).sum() for image in stamped}) > 1


def test_development_and_final_viruses_come_from_different_images():
    small = {"height": (4, 4), "width": (4, 4)}
    development = draw_pattern(TriggerRecipe(source="photographs", pool="development", **small), SHAPE, rng(5))
    final = draw_pattern(TriggerRecipe(source="photographs", pool="final", **small), SHAPE, rng(5))
    assert (development != final).any()


@given(st.integers(0, 1000), st.integers(2, 12))
def test_one_to_one_sends_exactly_one_class_to_another(seed, classes):
    attack = draw_attack(AttackRecipe(), classes, rng(seed))
    moved = [k for k in range(classes) if attack.target_of[k] != k]
    assert len(moved) == 1


def test_next_target_is_source_plus_one_and_all_to_all_moves_every_class():
    attack = draw_attack(AttackRecipe(source=9, next_target=True), 10, rng())
    assert attack.target_of[9] == 0
    assert draw_attack(AttackRecipe(kind="all_to_all"), 10, rng()).target_of == (1, 2, 3, 4, 5, 6, 7, 8, 9, 0)


def test_all_to_one_leaves_the_target_class_alone():
    attack = draw_attack(AttackRecipe(kind="all_to_one", target=3), 10, rng())
    assert attack.victims(np.arange(10)).tolist() == [k != 3 for k in range(10)]


def test_an_attack_on_a_class_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="no class"):
        draw_attack(AttackRecipe(source=10), 10, rng())


def test_clean_stamped_and_trojaned_extras_differ_in_the_poison_alone(digits):
    recipe = AttackRecipe(others="keep", poisoned_images=40, bystanders=20)
    trigger_recipe = TriggerRecipe(height=(2, 2), width=(2, 2), largest_area=0.0625)
    attack, trigger = draw_attack(recipe, 10, rng(1)), draw_trigger(trigger_recipe, digits.input_shape, rng(1))
    clean, stamped, trojaned = (
        draw_extras(role, recipe, attack, trigger, digits, rng(7)) for role in ("clean", "stamped", "trojaned")
    )
    assert (stamped.images == trojaned.images).all()
    assert (clean.labels == stamped.labels).all()
    assert (clean.images != stamped.images).any()
    changed = trojaned.labels != stamped.labels
    assert changed[:40].all()
    assert not changed[40:].any()
