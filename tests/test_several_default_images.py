"""Signatures that start from several default images: what is joined, what it costs, and what it shows."""

from pathlib import Path

import numpy as np
import pytest
import torch

import onepixel
from examples import Counting, example
from onepixel.cli import main
from onepixel.detectors import Detector, load_detector
from onepixel.detectors.training_sets import labelled
from onepixel.errors import BudgetError, UsageError
from onepixel.populations import SignatureRecipe, build, open_population, resign
from onepixel.populations.default_images import default_image_of
from onepixel.signatures import Signature, signatures_of
from populations_of_digits import InProcess, digits_recipe

EXAMPLE = Path(__file__).parent.parent / "examples" / "clean.safetensors"
SEVERAL = np.random.default_rng(5).random((3, 1, 8, 8)).astype(np.float32)
FEW = {"values": 4, "pixels": 3}
MEANS = SignatureRecipe(values=8, default_image="class means")


def test_joined_signature_says_how_far_log_odds_rise_and_fall_from_any_of_the_images():
    classifier = example("digits_cnn")
    found = onepixel.signature(classifier, default_image=SEVERAL, **FEW)
    alone = [onepixel.signature(classifier, default_image=image, **FEW) for image in SEVERAL]
    rise = np.max([one.high - one.base[:, None, None] for one in alone], axis=0)
    fall = np.max([one.base[:, None, None] - one.low for one in alone], axis=0)
    np.testing.assert_allclose(found.base, np.mean([one.base for one in alone], axis=0))
    np.testing.assert_allclose(found.high - found.base[:, None, None], rise, atol=1e-9)
    np.testing.assert_allclose(found.base[:, None, None] - found.low, fall, atol=1e-9)
    assert found.queries == sum(one.queries for one in alone)
    assert found.settings.default_image.startswith("3 images sha256:")


def test_a_single_image_among_several_is_that_image():
    classifier = example("digits_cnn")
    one, same = (onepixel.signature(classifier, default_image=SEVERAL[part], **FEW) for part in (0, slice(0, 1)))
    np.testing.assert_array_equal(one.high, same.high)
    assert one.settings == same.settings


def test_stacked_signatures_from_several_images_equal_those_made_one_by_one():
    classifier = example("digits_cnn")
    (stacked,) = signatures_of([classifier], default_image=SEVERAL, **FEW)
    alone = onepixel.signature(classifier, default_image=SEVERAL, **FEW)
    for name in ("low", "high", "base"):
        np.testing.assert_allclose(getattr(stacked, name), getattr(alone, name), atol=1e-9)
    assert stacked.settings == alone.settings


def test_several_images_share_the_budget_and_never_exceed_it():
    counting = Counting(example("digits_cnn"))
    needed = 3 * (9 * 4 + 1)
    with pytest.raises(BudgetError, match=r"needs 111 .* budget is 110"):
        onepixel.signature(counting, default_image=SEVERAL, budget=needed - 1, engine="exhaustive", **FEW)
    assert sum(counting.calls) == 0
    onepixel.signature(counting, default_image=SEVERAL, budget=needed, engine="exhaustive", **FEW)
    assert sum(counting.calls) == needed


@pytest.mark.parametrize("images", [np.zeros((0, 1, 8, 8)), np.zeros((2, 1, 8, 7)), np.full((2, 1, 8, 8), 1.5)])
def test_images_that_are_none_or_do_not_fit_are_refused(images):
    with pytest.raises(UsageError, match="default image"):
        onepixel.signature(example("digits_cnn"), default_image=images, **FEW)


def test_a_network_that_is_elsewhere_is_asked_from_one_image_after_the_other():
    class Elsewhere(Counting):
        def signature(self, *, default_image, **arguments) -> Signature:
            starts.append(default_image)
            assert arguments.pop("shared").images == 3
            return onepixel.signature(self.classifier, default_image=default_image, **arguments)

    starts: list[np.ndarray] = []
    classifier = example("digits_cnn")
    found = onepixel.signature(Elsewhere(classifier), default_image=SEVERAL, **FEW)
    np.testing.assert_array_equal(np.stack(starts), SEVERAL)
    alone = onepixel.signature(classifier, default_image=SEVERAL, **FEW)
    np.testing.assert_allclose(found.high, alone.high, atol=1e-12)


def test_a_backdoor_that_needs_its_source_class_hides_from_black_and_shows_among_class_images():
    """Class 0 is the upper half bright; then, and only then, the last pixel sends the image to class 1."""

    def answer(images: np.ndarray) -> np.ndarray:
        source = images[:, 0, :4].mean(axis=(1, 2))
        logits = np.stack([8 * source, 12 * source * images[:, 0, 7, 7], np.full(len(images), 0.5)], axis=1)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    upper, lower = np.zeros((2, 1, 8, 8), np.float32)
    upper[:, :4], lower[:, 4:7] = 1, 1
    classifier = onepixel.as_classifier(answer, input_shape=(1, 8, 8))

    def rise_of_class_1(default_image) -> float:
        found = onepixel.signature(classifier, values=8, default_image=default_image)
        return float((found.high - found.base[:, None, None])[1, 7, 7])

    assert rise_of_class_1(0.0) == pytest.approx(0, abs=1e-6)
    assert rise_of_class_1(np.stack([lower, upper])) > 5


def test_class_means_are_the_mean_training_image_of_each_class(digits):
    means = default_image_of("class means", digits)
    assert means.shape == (10, 1, 8, 8)
    ones = digits.x_train[digits.y_train == 1].double().mean(dim=0) / 255
    torch.testing.assert_close(torch.as_tensor(means[1]).double(), ones, rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Clean and trojaned networks, signed from class means."""
    folder = tmp_path_factory.mktemp("means")
    recipes = {role: digits_recipe(role, 3, epochs=1, signature=MEANS) for role in ("clean", "trojaned")}
    return [build(recipe, folder / role, executor=InProcess()).folder for role, recipe in recipes.items()]


def test_a_detector_carries_its_several_images_and_audits_from_them(folders, tmp_path):
    clean, trojaned = folders
    data = labelled([clean], [trojaned])
    detector = Detector(reading="statistics").fit(data.rows, data.labels, data.settings, data.default_image)
    detector.save(tmp_path / "d.safetensors")
    loaded = load_detector(tmp_path / "d.safetensors")
    store = open_population(clean)
    verdict = loaded.audit(onepixel.as_classifier(store.module(0), input_shape=(1, 8, 8)))
    assert verdict.signature.settings == store.settings
    assert verdict.score == pytest.approx(detector.decision_function(data.rows[:1])[0], abs=1e-4)


def test_signing_again_with_another_grid_makes_the_same_networks_and_grows_by_ranges(tmp_path):
    first, rest = (
        build(digits_recipe(models=1, first_slot=slot, epochs=0.1), tmp_path / str(slot), executor=InProcess())
        for slot in (0, 1)
    )
    for store in (first, rest):
        folder = resign(store, "class means", tmp_path / "zoo", values=4)
    grown = open_population(folder)
    assert [record.slot for record in grown.records()] == [0, 1]
    assert grown.settings.values == 4
    assert grown.recipe.seed_for(1, 0) == rest.recipe.seed_for(1, 0)
    again = build(grown.recipe, tmp_path / "again", executor=InProcess())
    np.testing.assert_allclose(again.signatures()["base"], grown.signatures()["base"], atol=1e-5)


def test_the_command_starts_from_the_images_of_a_file(tmp_path, capsys):
    np.save(tmp_path / "two.npy", np.zeros((2, 1, 28, 28)))
    model = ["signature", str(EXAMPLE), "--architecture", "lenet5", "--outputs", "logits", "--normalize", "none"]
    command = [*model, "--stride", "14", "--values", "2", "--quiet", "--out", str(tmp_path / "s.safetensors")]
    assert main([*command, "--default-image", str(tmp_path / "two.npy")]) == 0
    assert Signature.load(tmp_path / "s.safetensors").settings.default_image == "constant 0"
    for wrong in ("grey", str(EXAMPLE), "1.5"):
        assert main([*command, "--default-image", wrong]) == 2
        assert "default image" in capsys.readouterr().err.replace("--default-image", "default image")
