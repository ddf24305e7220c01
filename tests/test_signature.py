"""The `Signature` value: what it holds, saving and loading it, and every way in which a file can be wrong."""

from dataclasses import FrozenInstanceError, asdict
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import onepixel
from examples import a_few_pixels, default_image, example
from onepixel import Settings, Signature
from onepixel.errors import UndecidedError, UsageError


def some_signature() -> Signature:
    classifier = example("digits_cnn")
    return onepixel.signature(classifier, values=4, pixels=a_few_pixels(classifier.input_shape), engine="exhaustive")


def test_signature_says_how_it_was_made() -> None:
    found = some_signature()
    assert found.shape == (4, 8, 8)
    assert found.settings == Settings(values=4, inclusive=False, default_image="constant 0", outputs="logits")
    assert (found.engine, found.queries, found.classifier) == ("exhaustive", 6 * 4 + 1, "DigitsCNN")


def test_equal_default_images_get_equal_names_and_others_do_not() -> None:
    classifier = example("digits_cnn")
    noise = np.asarray(default_image("noise", classifier.input_shape))
    other = noise.copy()
    other[0, 0, 0] = 1 - other[0, 0, 0]
    black = np.zeros(classifier.input_shape)

    def name(image: object) -> str:
        found = onepixel.signature(classifier, values=2, pixels=8, default_image=image)  # type: ignore[arg-type]
        return found.settings.default_image

    assert name(0.0) == name(black) == "constant 0"
    assert name(noise) == name(noise.copy()) != name(other)
    assert name(0.5) == "constant 0.5"


def test_saved_signature_loads_as_it_was(tmp_path: Path) -> None:
    found = some_signature()
    found.save(tmp_path / "one.safetensors")
    loaded = Signature.load(tmp_path / "one.safetensors")
    for name in ("low", "high", "base"):
        before, after = getattr(found, name), getattr(loaded, name)
        np.testing.assert_array_equal(after, before)
        assert after.dtype == before.dtype
    assert asdict(loaded)["settings"] == asdict(found)["settings"]
    assert (loaded.engine, loaded.queries, loaded.classifier) == (found.engine, found.queries, found.classifier)
    assert (loaded.note, loaded.details) == (found.note, found.details)


def test_saving_leaves_one_file_and_nothing_half_written(tmp_path: Path) -> None:
    some_signature().save(tmp_path / "one.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["one.safetensors"]


def test_saving_into_a_missing_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Cannot write"):
        some_signature().save(tmp_path / "missing" / "one.safetensors")


def test_loading_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no file"):
        Signature.load(tmp_path / "missing.safetensors")


def test_loading_a_file_of_other_tensors_says_that_it_is_no_signature(tmp_path: Path) -> None:
    save_file({"weight": np.zeros(3, dtype=np.float32)}, tmp_path / "weights.safetensors")
    with pytest.raises(UndecidedError, match="holds no one-pixel signature"):
        Signature.load(tmp_path / "weights.safetensors")


def test_loading_a_file_whose_header_nests_without_end_says_that_it_is_damaged(tmp_path: Path) -> None:
    arrays = {name: np.zeros(3, dtype=np.float32) for name in ("low", "high", "base")}
    header = {"format": "onepixel-signature-1", "settings": "[" * 100_000, "about": "{}"}
    save_file(arrays, tmp_path / "deep.safetensors", header)
    with pytest.raises(UndecidedError, match="damaged"):
        Signature.load(tmp_path / "deep.safetensors")


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_loading_a_truncated_file_says_that_it_is_damaged(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "one.safetensors"
    some_signature().save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UndecidedError, match="damaged"):
        Signature.load(path)


def test_loading_text_says_that_it_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("this is no signature at all, only some words in a file")
    with pytest.raises(UndecidedError, match="damaged"):
        Signature.load(tmp_path / "text.safetensors")


@pytest.mark.parametrize("settings", ["{}[", '{"colour": 3}', "[1, 2]"])
def test_loading_a_signature_with_a_broken_header_says_that_it_is_damaged(tmp_path: Path, settings: str) -> None:
    arrays = {"low": np.zeros((2, 3, 3)), "high": np.zeros((2, 3, 3)), "base": np.zeros(2)}
    header = {"format": "onepixel-signature-1", "settings": settings, "about": "{}"}
    save_file(arrays, tmp_path / "one.safetensors", metadata=header)
    with pytest.raises(UndecidedError, match="damaged"):
        Signature.load(tmp_path / "one.safetensors")


def test_signature_refuses_arrays_that_do_not_fit_together() -> None:
    with pytest.raises(UsageError, match=r"low and high \(K, H, W\) and base \(K,\)"):
        Signature(low=np.zeros((2, 3, 3)), high=np.zeros((2, 3, 4)), base=np.zeros(2))
    with pytest.raises(UsageError, match="base"):
        Signature(low=np.zeros((2, 3, 3)), high=np.zeros((2, 3, 3)), base=np.zeros(3))


def test_signature_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        some_signature().engine = "another"  # type: ignore[misc]


def test_unknown_definition_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        UsageError,
        match="max, largest_change, algorithm1, change, log_odds, log_odds_fall for definition but got 'min'",
    ):
        some_signature().values("min")
