"""The sandbox holds, is insisted on, and is not believed."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import onepixel
from onepixel.classifiers.gradients import differentiable_log_odds, has_gradients, weighted_gradients
from onepixel.cli import main
from onepixel.errors import ModelFileError, OnepixelError, UsageError
from onepixel.loading import load_classifier
from onepixel.opening import Format, Limits
from onepixel.opening.program import open_program
from onepixel.opening.request import Request
from onepixel.reaches.search import choose_search
from onepixel.sandbox import open as sandbox_open
from onepixel.sandbox.classifier import SandboxedClassifier
from onepixel.sandbox.confine import NotEnforcedError
from onepixel.sandbox.launch import Child
from onepixel.sandbox.level import LEVELS, Level, missing
from onepixel.sandbox.open import opened
from onepixel.sandbox.protocol import Frame, ProtocolError, receive, send
from opening.conftest import Refused
from opening.model_files import network, options_for, write_looping_onnx


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
def test_levels_that_this_machine_has_hold_and_answer(level: Level, files: dict[str, Path]) -> None:
    reason = missing(level)
    if reason:
        pytest.skip(f"{level.name}: {reason}")
    request = Request.make(files["torchscript"], Format.TORCHSCRIPT, **options_for("torchscript"))
    classifier: Any = opened(Child(request, Limits(), level), request)
    assert level.name in classifier.assumptions[0]
    assert classifier.range_unsure  # the user said "none", and the file says nothing
    assert classifier(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    classifier.close()


def test_level_that_does_not_hold_is_not_used(files: dict[str, Path]) -> None:
    request = Request.make(files["torchscript"], Format.TORCHSCRIPT, **options_for("torchscript"))
    nothing = Level("nothing at all")
    with pytest.raises(NotEnforcedError, match="still possible"):
        opened(Child(request, Limits(), nothing), request)


@pytest.fixture
def without_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_open, "missing", lambda level: "taken away by the test")


@pytest.mark.usefixtures("without_sandbox")
def test_programs_are_refused_where_there_is_no_sandbox(
    files: dict[str, Path], tmp_path: Path, refused: Refused
) -> None:
    said = refused(files["torchscript"], "--input-shape", "1,28,28", "--outputs", "logits")
    assert "this machine has none" in said
    assert "Ask the vendor for ONNX" in said
    refused(files["exported"], "--outputs", "logits")
    torch.save(network().state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert "before version 1.6, which is opened" in refused(tmp_path / "old.pth", "--architecture", "lenet5")
    assert "sandbox only" in refused(files["onnx"], "--outputs", "logits", "--require-sandbox")


@pytest.mark.usefixtures("without_sandbox")
def test_data_is_opened_without_and_the_verdict_says_so(files: dict[str, Path]) -> None:
    classifier: Any = load_classifier(files["onnx"], sandbox="use", **options_for("onnx"))
    assert any(said.startswith("No sandbox") for said in classifier.assumptions)


def test_data_formats_can_be_opened_in_the_sandbox_where_loops_are_limited(tmp_path: Path) -> None:
    start = time.monotonic()
    path = write_looping_onnx(tmp_path / "m.onnx")
    limits = Limits(call_seconds=3, wall_seconds=90)
    with pytest.raises(OnepixelError, match="more than 3 s"):
        load_classifier(path, sandbox="require", limits=limits, outputs="logits", normalize="none")
    assert time.monotonic() - start < 90


class LyingChild:
    """Says whatever a child that was taken over could say."""

    level = LEVELS[0]

    def __init__(self, *frames: Frame) -> None:
        self.frames = list(frames)

    def ask(self, about: dict[str, Any], arrays: dict[str, Any] | None = None) -> None:
        pass

    def answer(self, most: int = 0) -> Frame:
        return self.frames.pop(0)

    def close(self) -> None:
        pass


OPENED = Frame({"input_shape": [1, 4, 4], "outputs": "logits", "classes": 3, "assumptions": ["a\x1b[2Jb"]})
SHAPE = (3, 4, 4)
MAPS = (1, *SHAPE)
DETAILS = {"error": 0.5, "x": {"y": 1, "z": {"too": "deep"}}, "w": [1]}
SOUND = Frame(
    {"signatures": [{"engine": "exhaustive", "queries": 5, "note": "", "details": DETAILS}]},
    {"low": np.zeros(MAPS, np.float32), "high": np.ones(MAPS, np.float32), "base": np.zeros((1, 3), np.float32)},
)


def lying(*frames: Frame) -> SandboxedClassifier:
    request = Request(path="/m", format=Format.TORCHSCRIPT, name="m")
    return SandboxedClassifier(LyingChild(*frames), request)  # type: ignore[arg-type]


def test_sound_answers_of_a_child_are_taken_and_its_words_made_printable() -> None:
    classifier = lying(OPENED, SOUND)
    assert "\x1b" not in "".join(classifier.assumptions)
    found = onepixel.signature(classifier, values=8)
    assert found.shape == SHAPE
    assert found.details == {"error": 0.5, "x": {"y": 1}}


def test_gradients_come_out_of_the_sandbox_and_are_those_of_the_module(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4)), path)
    opened: dict[str, Any] = {"outputs": "logits", "normalize": "none", "input_shape": (1, 8, 8)}
    classifier: Any = load_classifier(path, **opened)
    if not isinstance(classifier, SandboxedClassifier):
        pytest.skip("this machine has no sandbox")
    here = onepixel.as_classifier(torch.load(path, weights_only=False), input_shape=(1, 8, 8))
    images, weights = torch.rand(5, 1, 8, 8), torch.randn(5, 4)
    expected = weighted_gradients(here, images, weights)
    assert torch.allclose(classifier.gradients(images, weights), expected, atol=1e-5)
    asked = images.clone().requires_grad_(True)
    (found,) = torch.autograd.grad((differentiable_log_odds(classifier, asked) * weights).sum(), asked)
    assert torch.allclose(found, expected, atol=1e-5)
    assert choose_search(classifier, "auto") == "gradient"
    classifier.close()


@pytest.mark.parametrize("form", [Format.TORCHSCRIPT, Format.EXPORTED_PROGRAM], ids=["torchscript", "exported"])
def test_gradients_go_through_programs_too(form: Format, files: dict[str, Path]) -> None:
    name = "torchscript" if form is Format.TORCHSCRIPT else "exported"
    program = open_program(Request.make(files[name], form, **options_for(name)))
    assert has_gradients(program)
    images, weights = torch.rand(3, 1, 28, 28), torch.randn(3, 10)
    expected = weighted_gradients(onepixel.as_classifier(network(), input_shape=(1, 28, 28)), images, weights)
    assert torch.allclose(weighted_gradients(program, images, weights), expected, atol=1e-4)


@pytest.mark.parametrize(
    "array",
    [None, np.zeros((1, 1, 4, 4), np.float32), np.full((2, 1, 4, 5), np.nan, np.float32), np.zeros((2, 1, 4, 5), int)],
)
def test_arrays_that_are_no_gradients_are_refused(array: np.ndarray | None) -> None:
    given = {} if array is None else {"gradients": array}
    classifier = lying(OPENED, Frame({}, given))
    with pytest.raises(OnepixelError, match="gradient each"):
        classifier.gradients(torch.zeros(2, 1, 4, 5), torch.zeros(2, 3))


@pytest.mark.parametrize(
    "change",
    [
        {"classes": 10**9},
        {"classes": "3"},
        {"classes": True},
        {"input_shape": [1, -4, 4]},
        {"input_shape": "abc"},
        {"outputs": "secrets"},
        {"assumptions": 7},
    ],
)
def test_nonsense_about_the_network_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="no answer"):
        lying(replace(OPENED, about={**OPENED.about, **change}))


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("low", np.full(MAPS, 2, np.float32)),
        ("low", np.full(MAPS, np.nan, np.float32)),
        ("high", np.full(MAPS, np.inf, np.float32)),
        ("high", np.ones((1, 3, 4, 5), np.float32)),
        ("high", np.ones(MAPS, np.int64)),
        ("base", np.full((1, 3), np.nan, np.float32)),
        ("more", np.zeros(3, np.float32)),
    ],
)
def test_arrays_that_are_no_signature_are_refused(name: str, array: np.ndarray) -> None:
    classifier = lying(OPENED, replace(SOUND, arrays={**SOUND.arrays, name: array}))
    with pytest.raises(ProtocolError, match="no signature"):
        onepixel.signature(classifier, values=8)


@pytest.mark.parametrize("abouts", [None, [], [{}], [7], [{"engine": "exhaustive", "queries": -1}], [{}, {}]])
def test_words_that_are_no_signature_are_refused(abouts: object) -> None:
    classifier = lying(OPENED, replace(SOUND, about={"signatures": abouts}))
    with pytest.raises(ProtocolError, match="no signature"):
        onepixel.signature(classifier, values=8)


def test_errors_of_a_child_become_ours_and_nothing_else() -> None:
    for kind, expected in (("UsageError", UsageError), ("SystemExit", OnepixelError), ("OSError", OnepixelError)):
        with pytest.raises(expected, match="words"):
            lying(Frame({"error": kind, "sentence": "words"}))


def test_frames_are_bounded_in_size_and_time_and_are_no_pickles() -> None:
    import os

    out, into = os.pipe()
    send(into, {"a": 1}, {"x": np.arange(4)})
    assert receive(out, 10_000).arrays["x"].tolist() == [0, 1, 2, 3]
    send(into, {"a": "x" * 2000})
    with pytest.raises(ProtocolError, match="more than it may"):
        receive(out, 1000)
    os.read(out, 10_000)
    with pytest.raises(ProtocolError, match="longer than it may"):
        receive(out, 1000, deadline=time.monotonic() + 0.05)
    os.write(into, (2).to_bytes(8) + (3).to_bytes(8) + b"{}abc")
    with pytest.raises(ProtocolError, match="no answer"):
        receive(out, 1000)
    os.close(into)
    with pytest.raises(ProtocolError, match="ended early"):
        receive(out, 1000)
    os.close(out)


def test_closed_sandbox_says_so(files: dict[str, Path]) -> None:
    classifier = lying(OPENED)
    classifier.close()
    with pytest.raises(UsageError, match="closed"):
        classifier(torch.zeros(1, 1, 4, 4))


def test_child_that_writes_more_than_it_may_is_a_file_error() -> None:
    assert issubclass(ProtocolError, ModelFileError)
    assert ProtocolError("x").exit_status == 3


def test_interrupted_command_ends_with_130(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("onepixel.loading.load_classifier", interrupted)
    assert main(["signature", "model", "--out", str(tmp_path / "o")]) == 130


def test_unexpected_failure_is_one_sentence_and_4(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("onepixel.loading.load_classifier", broken)
    assert main(["signature", "model", "--out", str(tmp_path / "o")]) == 4
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "bug in onepixel (ZeroDivisionError: oh)" in said
    monkeypatch.setenv("ONEPIXEL_DEBUG", "1")
    assert main(["signature", "model", "--out", str(tmp_path / "o")]) == 4
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["audit"], ["audit", "m", "--no-such-option"], ["signature", "m"], ["nothing"]])
def test_wrong_usage_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "Traceback" not in capsys.readouterr().err
