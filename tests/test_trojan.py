import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from onepixel.errors import UsageError
from onepixel.populations import Recipe
from onepixel.trojan import (
    AttackRecipe,
    BlendedTriggerRecipe,
    SinusoidalTriggerRecipe,
    TriggerRecipe,
    WarpedTriggerRecipe,
    draw_attack,
    draw_extras,
    draw_trigger,
)
from onepixel.trojan.patches import draw_pattern
from onepixel.trojan.warped import warp

WHOLE_IMAGE = [
    BlendedTriggerRecipe(),
    BlendedTriggerRecipe(source="photographs"),
    SinusoidalTriggerRecipe(frequency=(4, 8), angle=(0, 180)),
    WarpedTriggerRecipe(),
]

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


@given(st.floats(0.05, 0.95), st.integers(0, 100))
def test_a_faint_pattern_leaves_the_image_its_share_of_every_pixel(contrast, seed):
    images = rng(seed).integers(0, 256, (3, *SHAPE), dtype=np.uint8)
    plain = TriggerRecipe(patterns=(1, 1), height=(4, 4), width=(4, 4))
    faint = plain.model_copy(update={"contrast": (contrast, contrast)})
    full, mixed = (draw_trigger(recipe, SHAPE, rng(seed)).stamp(images, rng(seed)) for recipe in (plain, faint))
    assert np.abs((1 - contrast) * images + contrast * full - mixed).max() <= 0.5
    assert not np.array_equal(full, mixed)


def test_contrast_is_drawn_per_model_and_told_where_patterns_do_not_replace():
    recipe = TriggerRecipe(contrast=(0.2, 0.6))
    told = [draw_trigger(recipe, SHAPE, rng(seed)).describe()["contrast"] for seed in range(40)]
    assert 0.2 <= min(told) < 0.3 < 0.5 < max(told) <= 0.6
    assert "contrast" not in draw_trigger(TriggerRecipe(), SHAPE, rng()).describe()


@pytest.mark.parametrize("contrast", [(0, 1), (0.5, 0.2), (0.5, 1.5)])
def test_contrast_that_makes_no_sense_is_refused(contrast):
    with pytest.raises(ValidationError, match="contrast needs 0 < weakest <= strongest <= 1"):
        TriggerRecipe(contrast=contrast)


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


@pytest.mark.parametrize("recipe", WHOLE_IMAGE, ids=lambda recipe: f"{recipe.kind} {getattr(recipe, 'source', '')}")
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 24), (1, 8, 8)], ids=str)
def test_whole_image_triggers_stamp_every_shape_alike_for_one_seed_and_leave_their_argument_alone(recipe, shape):
    images = rng().integers(0, 256, (4, *shape), dtype=np.uint8)
    before = images.copy()
    once, again, other = (draw_trigger(recipe, shape, rng(seed)).stamp(images, rng()) for seed in (1, 1, 2))
    assert (images == before).all()
    assert once.shape == images.shape
    assert (once == again).all()
    assert (once != other).any()
    assert (once != images).any(axis=(1, 2, 3)).all()


def test_a_blended_image_is_the_weighted_mean_of_image_and_picture():
    trigger = draw_trigger(BlendedTriggerRecipe(blend_ratio=0.25), SHAPE, rng())
    images = rng(1).integers(0, 256, (3, *SHAPE), dtype=np.uint8)
    expected = 0.75 * images + 0.25 * trigger.picture
    assert np.abs(trigger.stamp(images, rng()) - expected).max() <= 0.5 + 1e-4


def test_a_sinusoidal_signal_is_the_papers_along_the_columns_and_turned_by_90_degrees_along_the_rows():
    recipe = SinusoidalTriggerRecipe(amplitude=0.1, frequency=(6, 6))
    grey = np.full((1, *SHAPE), 100, np.uint8)
    stamped = draw_trigger(recipe, SHAPE, rng()).stamp(grey, rng())[0, 0]
    columns = np.arange(28)
    assert np.abs(stamped - (100 + 25.5 * np.sin(2 * np.pi * columns * 6 / 28))).max() <= 0.5 + 1e-9
    turned = draw_trigger(recipe.model_copy(update={"angle": (90, 90)}), SHAPE, rng()).stamp(grey, rng())[0, 0]
    assert (turned == stamped.T).all()


def test_a_signal_is_clipped_at_black_and_white():
    recipe = SinusoidalTriggerRecipe(amplitude=0.2)
    for level in (0, 255):
        flat = np.full((1, *SHAPE), level, np.uint8)
        stamped = draw_trigger(recipe, SHAPE, rng()).stamp(flat, rng()).astype(int)
        assert (abs(stamped - level) <= 51).all()
        assert (stamped == level).any()


def test_a_warp_takes_each_pixel_from_where_its_field_points():
    images = rng().integers(0, 256, (2, *SHAPE), dtype=np.uint8)
    field = np.zeros((1, 2, 28, 28), np.float32)
    assert (warp(images, field) == images).all()
    field[:, 0] = 1
    assert (warp(images, field)[..., :-1] == images[..., 1:]).all()
    field[:, 1] = -2
    assert (warp(images, field)[..., 2:, :-1] == images[..., :-2, 1:]).all()


def test_a_warp_is_smooth_and_as_strong_as_its_recipe_says():
    fields = np.stack([draw_trigger(WarpedTriggerRecipe(displacement=2), SHAPE, rng(seed)).field for seed in range(50)])
    corners = np.abs(fields[:, :, [0, 0, -1, -1], [0, -1, 0, -1]])
    assert corners.mean() == pytest.approx(2, rel=0.15)
    assert np.abs(np.diff(fields, axis=-1)).max() < 2


def test_noise_images_of_a_warp_keep_their_labels_and_all_roles_see_equally_many(digits):
    recipe, warped = AttackRecipe(kind="all_to_one", target=3, poisoned_images=40), WarpedTriggerRecipe(noise_images=30)
    attack, trigger = draw_attack(recipe, 10, rng(1)), draw_trigger(warped, digits.input_shape, rng(1))
    clean, stamped, trojaned = (
        draw_extras(role, recipe, attack, trigger, digits, rng(7)) for role in ("clean", "stamped", "trojaned")
    )
    assert len(clean.labels) == len(stamped.labels) == len(trojaned.labels) == 70
    assert (trojaned.labels[:40] == 3).all()
    assert (trojaned.labels[40:] == clean.labels[40:]).all()
    assert (trojaned.images[40:] != trigger.stamp(clean.images[40:], rng())).any(axis=(1, 2, 3)).all()


def test_decoys_carry_other_patches_in_the_same_place_and_keep_their_labels(digits):
    recipe = AttackRecipe(kind="all_to_one", target=3, poisoned_images=40, decoys=30)
    patches = TriggerRecipe(height=(2, 2), width=(2, 2), largest_area=0.0625, patterns=(1, 1), jitter=0)
    attack, trigger = draw_attack(recipe, 10, rng(1)), draw_trigger(patches, digits.input_shape, rng(1))
    clean, stamped, trojaned = (
        draw_extras(role, recipe, attack, trigger, digits, rng(7)) for role in ("clean", "stamped", "trojaned")
    )
    assert len(clean.labels) == len(stamped.labels) == len(trojaned.labels) == 70
    assert (trojaned.labels[:40] == 3).all()
    assert (trojaned.labels[40:] == clean.labels[40:]).all()
    row, column = trigger.anchor
    inside = (slice(40, None), slice(None), slice(row, row + 2), slice(column, column + 2))
    assert (trojaned.images[inside] != trigger.patterns[0]).any(axis=(1, 2, 3)).all()
    outside = trojaned.images[40:].copy()
    outside[(slice(None), *inside[1:])] = clean.images[inside]
    assert (outside == clean.images[40:]).all()


def test_decoys_need_patches():
    with pytest.raises(ValueError, match="patches"):
        Recipe(name="x", role="trojaned", attack=AttackRecipe(decoys=1), trigger=WarpedTriggerRecipe())


def test_clean_label_poison_is_of_the_target_class_and_keeps_its_label(digits):
    recipe = AttackRecipe(kind="all_to_one", target=4, clean_label=True, poisoned_images=50)
    attack, trigger = (
        draw_attack(recipe, 10, rng(1)),
        draw_trigger(SinusoidalTriggerRecipe(), digits.input_shape, rng()),
    )
    clean, trojaned = (draw_extras(role, recipe, attack, trigger, digits, rng(7)) for role in ("clean", "trojaned"))
    assert (trojaned.labels == 4).all()
    assert (clean.labels == 4).all()
    assert (trojaned.images == trigger.stamp(clean.images, rng())).all()


@pytest.mark.parametrize("wrong", [{"kind": "one_to_one"}, {"kind": "all_to_one", "others": "keep"}])
def test_clean_labels_make_sense_for_one_target_alone(wrong):
    with pytest.raises(ValueError, match="clean_label needs"):
        AttackRecipe(clean_label=True, **wrong)
