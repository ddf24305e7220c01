"""TensorFlow Lite: the same network in its plain form has the same signature, and nothing of the file's own runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import onepixel
from onepixel.errors import ModelFileError, OnepixelError
from onepixel.opening import Format, Limits
from onepixel.opening.recognise import recognise
from onepixel.opening.request import Request
from onepixel.opening.tflite_file import open_tflite
from opening.test_checkpoints import FEW, same
from opening.tflite_writer import network_of_few_layers, write_tflite

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed: onepixel[tflite]")
SHAPE = (1, 28, 28)


@pytest.fixture(scope="module")
def plain() -> onepixel.Classifier:
    return onepixel.as_classifier(network_of_few_layers(), input_shape=SHAPE)


def opened(path: Path, **said: Any) -> Any:
    """The classifier as it is inside the sandbox."""
    assert recognise(path, Limits()) is Format.TFLITE
    return open_tflite(Request.make(path, Format.TFLITE, **said), Limits())


@pytest.mark.parametrize("fixed", [False, True])
def test_signature_is_that_of_the_plain_network(tmp_path: Path, plain: onepixel.Classifier, fixed: bool) -> None:
    found = opened(
        write_tflite(network_of_few_layers(), tmp_path / "m", fixed=fixed), outputs="logits", normalize="none"
    )
    assert same(found, onepixel.signature(plain, **FEW))
    assert any("one at a time" in said for said in found.assumptions) == fixed


def test_softmax_is_seen_and_the_range_is_obeyed(tmp_path: Path, plain: onepixel.Classifier) -> None:
    found = opened(write_tflite(network_of_few_layers(), tmp_path / "m", softmax=True), pixel_range=(0, 1))
    assert found.outputs == "probabilities"
    images = torch.rand(5, *SHAPE)
    assert torch.allclose(found(images), plain(images).softmax(dim=1), atol=1e-5)


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
def test_whole_numbers_are_fed_as_the_file_says(tmp_path: Path, plain: onepixel.Classifier, kind: Any) -> None:
    path = write_tflite(network_of_few_layers(), tmp_path / "m", bytes_in=kind)
    images = torch.randint(0, 256, (4, *SHAPE)) / 255
    for said in ({}, {"normalize": "none"}, {"pixel_range": (0, 1)}):
        found = opened(path, outputs="logits", **said)
        assert torch.allclose(found(images), plain(images), atol=1e-4)


def test_the_command_line_opens_it_in_the_sandbox(tmp_path: Path, plain: onepixel.Classifier) -> None:
    path = write_tflite(network_of_few_layers(), tmp_path / "m.tflite")
    try:
        found: Any = onepixel.load_classifier(path, outputs="logits", normalize="none")
    except ModelFileError as error:
        pytest.skip(f"this machine has no sandbox: {error}")
    assert "sandbox" in found.assumptions[0]
    assert torch.allclose(found(torch.ones(3, *SHAPE)), plain(torch.ones(3, *SHAPE)), atol=1e-4)
    found.close()


def test_operations_of_its_own_and_damaged_files_are_refused(tmp_path: Path) -> None:
    path = write_tflite(network_of_few_layers(), tmp_path / "m", custom=True)
    with pytest.raises(ModelFileError, match="OperationOfTheirOwn"):
        opened(path, outputs="logits", normalize="none")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OnepixelError):
        opened(path, outputs="logits", normalize="none")
