"""Default images other than black: by name, in a store, in a zoo, and in the file of a detector."""

import numpy as np
import pytest

from onepixel.classifiers import ModuleClassifier
from onepixel.cli import main
from onepixel.detectors import Detector, load_detector
from onepixel.detectors.training_sets import labelled
from onepixel.errors import StoreError, UsageError
from onepixel.populations import (
    SignatureRecipe,
    Store,
    ZooPopulation,
    build,
    open_population,
    parse_default_image,
    resign,
    verify,
)
from onepixel.populations.default_images import default_image_of
from onepixel.signatures import describe_default_image, signature
from populations_of_digits import InProcess, content, digits_recipe

NOISE = SignatureRecipe(values=8, default_image="noise 3")


@pytest.fixture(scope="module")
def black(tmp_path_factory) -> Store:
    """Two trojaned networks, signed from black."""
    return build(digits_recipe("trojaned", 2, epochs=1), tmp_path_factory.mktemp("black") / "s", executor=InProcess())


@pytest.fixture(scope="module")
def noisy(tmp_path_factory) -> dict[str, Store]:
    """Clean and trojaned networks, signed from noise."""
    folder = tmp_path_factory.mktemp("noisy")
    return {
        role: build(digits_recipe(role, 3, epochs=1, signature=NOISE), folder / role, executor=InProcess())
        for role in ("clean", "trojaned")
    }


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("black", 0.0),
        ("white", 1.0),
        ("0.25", 0.25),
        ("mean", "mean"),
        ("noise", "noise 0"),
        ("noise 7", "noise 7"),
        ("image", "image 0"),
    ],
)
def test_default_images_have_names(words, named):
    assert parse_default_image(words) == named


@pytest.mark.parametrize("words", ["", "grey", "2", "-1", "nan", "noise x", "noise -1", "mean 3"])
def test_what_is_no_default_image_is_refused(words):
    with pytest.raises(UsageError, match="expected black, class means, image N, mean, noise N, white or an intensity"):
        parse_default_image(words)


def test_a_named_image_is_what_its_name_says(digits):
    mean = default_image_of("mean", digits)
    assert np.allclose(mean, digits.x_train.double().mean(dim=0) / 255, atol=1e-7)
    assert (default_image_of("image 5", digits) == digits.x_train[5].numpy() / np.float32(255)).all()
    noise = default_image_of("noise 3", digits)
    assert (noise == default_image_of("noise 3", digits)).all()
    assert (noise != default_image_of("noise 4", digits)).any()
    assert 0 <= noise.min() < noise.max() <= 1
    with pytest.raises(UsageError, match="none of index 99999"):
        default_image_of("image 99999", digits)


def test_a_population_signed_from_noise_holds_what_onepixel_signature_computes(noisy, digits):
    store = noisy["trojaned"]
    image = default_image_of("noise 3", digits)
    expected = signature(ModuleClassifier(store.module(1), digits.input_shape), values=8, default_image=image)
    assert np.allclose(store.signature(1).high, expected.high, atol=1e-4)
    assert store.settings == expected.settings
    assert store.settings.default_image == describe_default_image(image)
    assert verify(store, sample=1).faults == ()


def test_a_store_whose_default_image_is_gone_says_so(noisy, tmp_path):
    import shutil

    shutil.copytree(noisy["clean"].folder, tmp_path / "s")
    (tmp_path / "s" / "default_image.npy").unlink()
    with pytest.raises(StoreError, match=r"default image .* is missing or damaged"):
        _ = Store.open(tmp_path / "s").settings


def test_signing_again_keeps_the_networks_and_changes_the_signatures(black, digits, tmp_path):
    before = content(black.folder)
    folder = resign(black, "image 2", tmp_path)
    assert content(black.folder) == before
    population = open_population(folder)
    assert isinstance(population, ZooPopulation)
    assert folder.name == "digits-trojaned-image-2"
    for new, old in zip(population.records(), black.records(), strict=True):
        assert (new.seed, new.weights_sha256, new.attack_success) == (old.seed, old.weights_sha256, old.attack_success)
        assert new.signature_sha256 != old.signature_sha256
    image = default_image_of("image 2", digits)
    expected = signature(ModuleClassifier(black.module(0), digits.input_shape), values=8, default_image=image)
    assert np.allclose(population.signatures()[0]["high"], expected.high, atol=1e-2)
    assert population.settings == expected.settings


def test_what_is_signed_again_may_have_a_name_and_a_grid_of_its_own(black, tmp_path):
    command = ["population", "resign", str(black.folder), "--zoo", str(tmp_path), "--quiet", "--default-image", "white"]
    assert main([*command, "--values", "4", "--name", "coarse"]) == 0
    population = ZooPopulation(tmp_path / "coarse")
    assert (population.recipe.name, population.settings.values) == ("coarse", 4)


def test_building_the_recipe_of_a_population_that_was_signed_again_makes_the_same_signatures(black, tmp_path):
    population = ZooPopulation(resign(black, "noise 1", tmp_path / "zoo"))
    built = build(population.recipe, tmp_path / "built", executor=InProcess())
    assert [record.signature_sha256 for record in built.records()] == [
        record.signature_sha256 for record in population.records()
    ]


def test_a_store_refuses_to_go_on_under_another_default_image(black):
    other = black.recipe.signature.model_copy(update={"other_default_image": "mean"})
    with pytest.raises(UsageError, match="another recipe"):
        Store.create(black.folder, black.recipe.model_copy(update={"signature": other}))


def test_the_command_signs_again_and_refuses_an_unknown_image(black, tmp_path, capsys):
    command = ["population", "resign", str(black.folder), "--zoo", str(tmp_path), "--quiet", "--default-image"]
    assert main([*command, "white"]) == 0
    assert ZooPopulation(tmp_path / "digits-trojaned-white").settings.default_image == "constant 1"
    assert main([*command, "blue"]) == 2
    assert "black, class means, image N, mean, noise N, white" in capsys.readouterr().err


def test_a_detector_file_carries_its_default_image_and_audits_from_it(noisy, digits, tmp_path):
    folders = [noisy[role].folder for role in ("clean", "trojaned")]
    training = labelled(folders[:1], folders[1:])
    detector = Detector(epochs=1, folds=2)
    detector.fit(training.rows, training.labels, training.settings, training.default_image)
    detector.save(tmp_path / "d.safetensors")
    again = load_detector(tmp_path / "d.safetensors")
    classifier = ModuleClassifier(noisy["clean"].module(0), digits.input_shape)
    verdict = again.audit(classifier)
    assert verdict.signature.settings == noisy["clean"].settings
    assert verdict.score == pytest.approx(detector.decision_function(training.rows[:1])[0], abs=1e-3)


def test_a_detector_refuses_a_default_image_that_its_signatures_were_not_made_with(noisy, digits):
    folders = [noisy[role].folder for role in ("clean", "trojaned")]
    training = labelled(folders[:1], folders[1:])
    with pytest.raises(UsageError, match="another than the one"):
        Detector(epochs=1).fit(training.rows, training.labels, training.settings, default_image_of("mean", digits))
