"""Sample images, families, changes, and the values that hold what was found."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save as to_bytes

from onepixel.classifiers import Classifier, as_classifier, to_log_odds
from onepixel.classifiers.gradients import differentiable_log_odds
from onepixel.errors import BudgetError, UndecidedError, UsageError
from onepixel.reaches import Blend, Change, Patch, Reach, Response, SampleImages, sample_images
from onepixel.reaches.asking import Questions


def halves() -> Classifier:
    """Three classes by the brightness of the upper left, upper right and lower half of 6 x 6 pixels."""
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 3, bias=False))
    weight = torch.zeros(3, 6, 6)
    weight[0, :3, :3], weight[1, :3, 3:], weight[2, 3:] = 1.0, 1.0, 0.5
    module[1].weight.data = 4 * weight.flatten(1)
    return as_classifier(module, input_shape=(1, 6, 6))


def pictures(each: int = 3) -> np.ndarray:
    """So many images of each of the three classes."""
    images = np.zeros((3 * each, 1, 6, 6), dtype=np.float32)
    images[:each, :, :3, :3] = images[each : 2 * each, :, :3, 3:] = images[2 * each :, :, 3:] = 1
    return images


def small_reach() -> Reach:
    rng = np.random.default_rng(0)
    return Reach(
        sources=np.array([0, 1, 2]),
        targets=np.array([0, 1, 2]),
        source=np.array([0, -1, 0]),
        target=np.array([1, 1, 1]),
        place=np.array([[0, 0, 2, 2], [1, 1, 2, 2], [1, 1, 2, 2]]),
        log_odds=np.array([1.0, 2.0, 3.0], dtype=np.float32),
        flipped=np.array([0.2, 0.5, 1.0], dtype=np.float32),
        natural=np.array([np.nan, 0.0, 0.0], dtype=np.float32),
        base=np.zeros((3, 3), dtype=np.float32),
        fillings=rng.random((3, 1, 2, 2), dtype=np.float32),
        family="patch of 2 x 2 pixels",
        search="composed",
        queries=17,
        details={"seconds": 1},
    )


def small_response() -> Response:
    return Response(
        sources=np.array([0, 2]),
        places=Patch(3).places(6, 6),
        mean=np.random.default_rng(0).random((2, 3, 4), dtype=np.float32),
        spread=np.zeros((2, 3, 4), dtype=np.float32),
        base=np.zeros((2, 3), dtype=np.float32),
        fillings=np.zeros((5, 1, 3, 3), dtype=np.float32),
    )


def test_sample_images_keep_what_the_classifier_is_sure_of_and_the_given_labels_beside() -> None:
    images = np.concatenate([pictures(), np.zeros((2, 1, 6, 6), dtype=np.float32)])
    given_labels = np.arange(len(images)) % 3
    found = sample_images(halves(), images, given_labels, per_class=2)
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.given is not None
    assert found.given.tolist() == [0, 1, 0, 1, 0, 1]
    assert (found.asked, len(found), found.classes) == (11, 6, (0, 1, 2))


def test_a_class_with_too_few_sure_images_is_filled_up_with_the_surest_of_the_others() -> None:
    images = pictures(each=5)
    # The first class is answered ever less surely: probabilities of 1, 0.97, 0.73, 0.66, and 0.45, too near to chance.
    images[:5] *= np.array([1, 0.117, 0.046, 0.037, 0.01], dtype=np.float32)[:, None, None, None]
    found = sample_images(halves(), images, per_class=3)
    assert [np.flatnonzero((images == one).all(axis=(1, 2, 3)))[0] for one in found.of(0)] == [0, 1, 2]
    assert len(sample_images(halves(), images).of(0)) == 4
    assert len(sample_images(halves(), images, filled_from=0.9).of(0)) == 2
    assert len(sample_images(halves(), images[[4, 3, 2, *range(5, 10)]], per_class=2).of(0)) == 2


def test_sample_images_accept_bytes_and_tensors_alike() -> None:
    images = pictures()
    reference = sample_images(halves(), images)
    for same in (torch.as_tensor(images), (images * 255).astype(np.uint8)):
        assert np.array_equal(sample_images(halves(), same).images, reference.images)


@pytest.mark.parametrize("images", [np.zeros((4, 1, 6, 6)), pictures()[:3]])
def test_fewer_than_two_usable_classes_are_no_ground_for_a_verdict(images: np.ndarray) -> None:
    with pytest.raises(UndecidedError, match="at least two classes"):
        sample_images(halves(), images)


@pytest.mark.parametrize(
    "images",
    [np.zeros((0, 1, 6, 6)), np.zeros((2, 1, 5, 6)), np.full((2, 1, 6, 6), 2.0), np.full((1, 1, 6, 6), np.nan)],
)
def test_images_of_another_shape_or_range_are_a_usage_error(images: np.ndarray) -> None:
    with pytest.raises(UsageError):
        sample_images(halves(), images)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(1, 5))
def test_split_uses_every_image_once_and_leaves_half_of_each_class_fresh(labels: list[int], searched: int) -> None:
    samples = SampleImages(np.zeros((len(labels), 1, 1, 1), dtype=np.float32), np.array(sorted(labels)))
    seen, fresh = samples.split(searched)
    assert sorted([*seen, *fresh]) == list(range(len(labels)))
    for label in samples.classes:
        own = int((samples.labels[seen] == label).sum())
        total = labels.count(label)
        assert own <= max(1, min(searched, total // 2))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(9, 14), st.integers(9, 14))
def test_places_of_patches_lie_inside_and_touch_every_border(
    tall: int, wide: int, stride: int, height: int, width: int
) -> None:
    places = Patch((tall, wide), stride).places(height, width)
    bottom, right = places[:, 0] + places[:, 2], places[:, 1] + places[:, 3]
    assert places.min() >= 0
    assert (places[:, 0].min(), places[:, 1].min(), bottom.max(), right.max()) == (0, 0, height, width)
    assert len(np.unique(places, axis=0)) == len(places)


def test_a_patch_larger_than_the_image_is_refused() -> None:
    with pytest.raises(UsageError, match="does not fit"):
        Patch(7).places(6, 6)


def test_a_change_replaces_or_blends_and_leaves_the_given_images_alone() -> None:
    images = np.full((2, 1, 4, 4), 0.5, dtype=np.float32)
    change = Change((1, 2, 2, 1), np.ones((1, 2, 1), dtype=np.float32), "patch")
    changed = change.apply(images)
    assert changed.sum() == pytest.approx(images.sum() + 4 * 0.5)
    assert (changed[:, :, 1:3, 2] == 1).all()
    assert (images == 0.5).all()
    whole = Change((0, 0, 4, 4), np.ones((1, 4, 4), dtype=np.float32), Blend(0.1).name, alpha=0.1)
    assert whole.apply(images) == pytest.approx(np.full((2, 1, 4, 4), 0.55))
    with pytest.raises(UsageError, match="inside"):
        Change((3, 3, 2, 2), np.ones((1, 2, 2), dtype=np.float32), "patch").apply(images)


def test_a_reach_has_a_table_of_its_findings_and_names_the_best() -> None:
    reach = small_reach()
    assert reach.pairs.shape == (3, 3, 2)
    assert reach.pairs[0, 1].tolist() == [1.0, 3.0]
    assert reach.over_all[1, 1] == 2.0
    assert np.isnan(reach.pairs[1]).all()
    assert np.array_equal(reach.best(0, 1).filling, reach.fillings[2])
    assert reach.best(None, 1).place == (1, 1, 2, 2)
    with pytest.raises(UsageError):
        reach.best(2, 0)


def test_reaches_and_responses_are_saved_loaded_and_drawn(tmp_path) -> None:
    reach = small_reach()
    reach.save(tmp_path / "reach.safetensors")
    loaded = Reach.load(tmp_path / "reach.safetensors")
    assert np.array_equal(loaded.fillings, reach.fillings)
    assert (loaded.queries, loaded.details, loaded.family) == (17, {"seconds": 1}, reach.family)
    reach.plot(tmp_path / "reach.png")
    response = small_response()
    response.save(tmp_path / "response.safetensors")
    assert np.array_equal(Response.load(tmp_path / "response.safetensors").mean, response.mean)
    response.plot(tmp_path / "response.png")
    assert all((tmp_path / name).stat().st_size for name in ("reach.png", "response.png"))
    with pytest.raises(UndecidedError, match="holds no reach"):
        Reach.load(tmp_path / "response.safetensors")
    with pytest.raises(UsageError, match="no file"):
        Reach.load(tmp_path / "other")


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        (Reach, {"base": np.zeros((3, 2), dtype=np.float32)}),
        (Reach, {"fillings": np.zeros((3, 4), dtype=np.float32)}),
        (Reach, {"source": np.array(0)}),
        (Reach, {"target": np.full(3, np.nan)}),
        (Reach, {"target": np.full(3, 77)}),
        (Reach, {"sources": np.zeros((2, 1), dtype=np.int64)}),
        (Response, {"base": np.zeros(2, dtype=np.float32)}),
        (Response, {"spread": np.zeros((2, 3, 5), dtype=np.float32)}),
        (Response, {"more": np.zeros(2)}),
        (Response, {"sources": np.array([0, 77])}),
    ],
)
def test_damaged_files_hold_no_value(kind: type[Reach] | type[Response], changed: dict[str, Any], tmp_path) -> None:
    whole = small_reach() if kind is Reach else small_response()
    path = tmp_path / "value.safetensors"
    whole.save(path)
    with safe_open(path, "np") as file:
        header, arrays = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    path.write_bytes(to_bytes({**arrays, **changed}, header))
    with pytest.raises(UndecidedError, match="is damaged"):
        kind.load(path)


def test_a_header_that_nests_without_end_is_damage(tmp_path) -> None:
    path = tmp_path / "value.safetensors"
    path.write_bytes(to_bytes({"base": np.zeros(2)}, {"format": Reach.FORMAT, "about": "[" * 100_000}))
    with pytest.raises(UndecidedError, match="is damaged"):
        Reach.load(path)


def test_arrays_that_do_not_fit_together_are_named() -> None:
    with pytest.raises(UsageError, match=r"log_odds of shape \(3\) in a reach but got \(2,\)"):
        replace(small_reach(), log_odds=np.zeros(2, dtype=np.float32))
    with pytest.raises(UsageError, match=r"base of shape \(2, any\) in a response but got \(2,\)"):
        replace(small_response(), base=np.zeros(2, dtype=np.float32))


def test_questions_never_exceed_the_budget() -> None:
    questions = Questions(halves(), budget=5)
    questions.log_odds(torch.zeros(3, 1, 6, 6))
    with pytest.raises(BudgetError):
        questions.log_odds(torch.zeros(3, 1, 6, 6))
    assert (questions.asked, questions.left) == (3, 2)


class Viewing(torch.nn.Module):
    """Flattens with `view`, which takes only images whose rows lie side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.linear = torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(4 * 16, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(self.convolution(images).view(len(images), -1))


@pytest.mark.parametrize(("views", "layout"), [(False, torch.channels_last), (True, torch.contiguous_format)])
def test_images_lie_as_the_network_takes_them_and_the_answers_stay(views: bool, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    module = Viewing()
    if not views:
        module = torch.nn.Sequential(module.convolution, torch.nn.Flatten(), module.linear)
    classifier = as_classifier(module, input_shape=(3, 6, 6))
    questions = Questions(classifier)
    images = torch.rand(9, 3, 6, 6)
    assert questions.way.layout is layout
    assert torch.allclose(questions.log_odds(images), to_log_odds(classifier(images), "logits").float(), atol=1e-5)
    slopes = []
    for answered in (questions.differentiable_log_odds, partial(differentiable_log_odds, classifier)):
        asked = images.clone().requires_grad_(True)
        slopes += torch.autograd.grad(answered(asked).square().sum(), asked)
    assert torch.allclose(*slopes, atol=1e-5)
    assert slopes[0].abs().max() > 0.01
