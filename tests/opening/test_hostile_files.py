"""What a hostile sender could send: each file gets its sentence and exit status 3, and nothing else happens."""

import os
import pickle
import socket
import time
import zipfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.ensemble import RandomForestClassifier

from onepixel.cli import main
from onepixel.errors import ModelFileError, UndecidedError
from onepixel.loading import load_classifier
from onepixel.opening import Limits
from opening import model_files
from opening.conftest import Refused
from opening.model_files import PAYLOADS, network, options_for

PROGRAM = ("--input-shape", "1,28,28", "--outputs", "logits")
ENDINGS = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".pt2", ".onnx", ".safetensors", ".skops", ".bin", "")


@pytest.mark.parametrize("style", PAYLOADS)
def test_payloads_are_live(style: str, marker: Path) -> None:
    pickle.loads(PAYLOADS[style](marker))
    assert marker.exists()


@pytest.mark.parametrize("ending", ENDINGS)
def test_pickles_are_refused_under_every_name(ending: str, tmp_path: Path, marker: Path, refused: Refused) -> None:
    for style, payload in PAYLOADS.items():
        path = tmp_path / f"{style}{ending}"
        path.write_bytes(payload(marker))
        said = refused(path, "--architecture", "lenet5", "--outputs", "logits")
        assert "unpickling runs whatever code" in said


def test_joblib_files_are_refused(tmp_path: Path, marker: Path, refused: Refused) -> None:
    joblib.dump(model_files.Payload(marker), tmp_path / "plain.joblib")
    assert "pickle" in refused(tmp_path / "plain.joblib")
    joblib.dump(model_files.Payload(marker), tmp_path / "small.joblib", compress=3)
    assert "compressed" in refused(tmp_path / "small.joblib")


def test_state_dict_with_a_payload_is_refused(tmp_path: Path, marker: Path, refused: Refused) -> None:
    for style, payload in PAYLOADS.items():
        path = model_files.poisoned_state_dict(tmp_path / f"{style}.pth", payload(marker))
        said = refused(path, "--architecture", "lenet5")
        assert "no state dict" in said


@pytest.mark.parametrize("old", [False, True])
def test_payload_beside_weights_is_named_and_never_run(old: bool, tmp_path: Path, marker: Path) -> None:
    content = {"state_dict": network().state_dict(), "extra": model_files.Payload(marker)}
    torch.save(content, tmp_path / "m", _use_new_zipfile_serialization=not old)
    classifier: Any = load_classifier(tmp_path / "m", architecture="lenet5", normalize="none")
    assert any("exec, which unpickling would have imported or called" in said for said in classifier.assumptions)
    assert not marker.exists()
    classifier.close()


def test_archives_around_pickles_and_keras_files_are_refused(tmp_path: Path, marker: Path, refused: Refused) -> None:
    payload = PAYLOADS["reduce"](marker)
    for names, sentence in (
        (("model.pkl",), "archive"),
        (("schema.json", "model.pkl"), "archive"),
        (("config.json", "metadata.json", "model.weights.h5"), "as a Keras model"),
    ):
        path = tmp_path / f"{names[-1]}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, payload)
        assert sentence in refused(path, "--input-shape", "1,28,28")
    (tmp_path / "model.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + payload)
    assert "as a Keras model" in refused(tmp_path / "model.h5")


def test_skops_file_with_untrusted_types_is_refused(tmp_path: Path, refused: Refused) -> None:
    skops = pytest.importorskip("skops.io")
    skops.dump({"model": os.system}, tmp_path / "m.skops")
    assert "skops does not trust (posix.system)" in refused(tmp_path / "m.skops", "--input-shape", "1,4,4")


def test_skops_forest_with_nodes_outside_memory_is_kept_in_the_sandbox(tmp_path: Path, refused: Refused) -> None:
    skops = pytest.importorskip("skops.io")
    forest = RandomForestClassifier(n_estimators=1, max_depth=2, random_state=0)
    forest.fit(np.random.default_rng(0).random((60, 16)), np.arange(60) % 3)
    skops.dump(forest, tmp_path / "good.skops")
    model_files.with_wild_tree_nodes(tmp_path / "good.skops", tmp_path / "m.skops")
    said = refused(tmp_path / "m.skops", "--input-shape", "1,4,4")
    assert "sklearn.tree._tree, whose native code" in said
    refused(tmp_path / "m.skops", "--input-shape", "1,4,4", "--require-sandbox")


OUTSIDE = ("../secret", "/etc/passwd", "a/../../secret", "..\\secret", "")
LINKS = ("link", "folder/x")


@pytest.mark.parametrize("location", [*OUTSIDE, *LINKS])
def test_onnx_weights_outside_the_folder_are_refused(location: str, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "secret").write_bytes(b"\x00" * 64)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "folder").symlink_to(tmp_path)
    path = model_files.write_onnx_with_outside_weights(folder / "m.onnx", location)
    said = refused(path, "--outputs", "logits")
    assert ("link" if location in LINKS else "outside its own folder") in said


def test_onnx_weights_in_a_hard_link_a_pipe_or_beyond_the_end_are_refused(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "secret").write_bytes(b"\x00" * 64)
    (tmp_path / "hard").hardlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "short").write_bytes(b"\x00" * 8)
    sentences = {"hard": "link", "pipe": "no regular file", "short": "does not hold them", "none": "not there"}
    for name, sentence in sentences.items():
        path = model_files.write_onnx_with_outside_weights(tmp_path / "m.onnx", name)
        assert sentence in refused(path, "--outputs", "logits")


def test_onnx_marker_for_memory_addresses_is_refused(tmp_path: Path, refused: Refused) -> None:
    path = model_files.write_onnx_with_outside_weights(tmp_path / "m.onnx", "*/_ORT_MEM_ADDR_/*", offset=4096)
    assert "not there" in refused(path, "--outputs", "logits")


def test_onnx_that_loops_is_refused_outside_a_sandbox(tmp_path: Path, refused: Refused) -> None:
    path = model_files.write_looping_onnx(tmp_path / "m.onnx")
    assert "can run for ever" in refused(path, "--outputs", "logits")


def test_onnx_that_allocates_multiplies_or_answers_nan_is_refused(tmp_path: Path, refused: Refused) -> None:
    start = time.monotonic()
    refused(model_files.write_greedy_onnx(tmp_path / "greedy.onnx"), "--outputs", "logits")
    said = refused(model_files.write_multiplying_onnx(tmp_path / "many.onnx"), "--outputs", "logits")
    assert "expands to 1000000000000 operations" in said
    assert "NaN" in refused(model_files.write_nan_onnx(tmp_path / "nan.onnx"), "--outputs", "logits")
    assert time.monotonic() - start < 60


def test_onnx_with_an_unknown_operator_is_refused(tmp_path: Path, refused: Refused) -> None:
    import onnx

    model = model_files.onnx_model([onnx.helper.make_node("Steal", ["images"], ["answers"], domain="evil")])
    model.opset_import.append(onnx.helper.make_opsetid("evil", 1))
    onnx.save(model, tmp_path / "m.onnx")
    assert "evil" in refused(tmp_path / "m.onnx", "--outputs", "logits")


BOMBS = (
    ("m/data.pkl", "m/data/0"),
    ("m/constants.pkl", "m/data.pkl"),
    ("m/archive_format", "m/models/model.json"),
    ("schema.json", "a.npy"),
)


@pytest.mark.parametrize("names", BOMBS)
def test_archives_that_unpack_to_too_much_are_refused(names: tuple[str, ...], tmp_path: Path, refused: Refused) -> None:
    path = model_files.write_zip_bomb(tmp_path / "bomb", names)
    assert "unpacks from" in refused(path, "--architecture", "lenet5", *PROGRAM)


def test_archive_with_the_same_name_twice_is_refused(tmp_path: Path, refused: Refused) -> None:
    with zipfile.ZipFile(tmp_path / "twice", "w") as archive:
        archive.writestr("m/data.pkl", b"harmless")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("m/data.pkl", b"other")
    assert "same name twice" in refused(tmp_path / "twice", "--architecture", "lenet5")


def test_files_larger_than_the_limit_are_refused_before_they_are_read(tmp_path: Path, files: dict[str, Path]) -> None:
    with pytest.raises(ModelFileError, match="more than the 1000 that are allowed"):
        load_classifier(files["onnx"], limits=Limits(file_bytes=1000), **options_for("onnx"))


def test_state_dict_claiming_huge_tensors_is_refused(tmp_path: Path, refused: Refused) -> None:
    weights = network().state_dict()
    weights["classifier.5.bias"] = torch.zeros(1).expand(99_999)
    torch.save(weights, tmp_path / "wide.pth")
    assert "does not fit" in refused(tmp_path / "wide.pth", "--architecture", "lenet5")


def test_empty_missing_and_strange_files(tmp_path: Path, refused: Refused, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert "is empty" in refused(tmp_path / "empty")
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in refused(tmp_path / "pipe")
    (tmp_path / "text").write_text("hello")
    assert "no model format" in refused(tmp_path / "text")
    for path, status in ((tmp_path / "missing", 2), (tmp_path, 3)):
        assert main(["signature", str(path), "--out", str(tmp_path / "o")]) == status
        assert capsys.readouterr().err.count("\n") == 1


def test_names_from_a_file_cannot_garble_the_terminal(tmp_path: Path, refused: Refused) -> None:
    weights = {**network().state_dict(), "x\x1b[2J\nonepixel: no evidence": torch.zeros(1)}
    save_file(weights, tmp_path / "m")
    said = refused(tmp_path / "m", "--architecture", "lenet5")
    assert "\x1b" not in said


@pytest.mark.parametrize("form", ["onnx", "safetensors", "state_dict", "torchscript", "exported"])
def test_truncated_files_of_every_format_are_refused(
    form: str, tmp_path: Path, files: dict[str, Path], refused: Refused
) -> None:
    contents = files[form].read_bytes()
    for share in (0.02, 0.5, 0.98):
        path = tmp_path / "cut"
        path.write_bytes(contents[: int(len(contents) * share)])
        refused(path, "--architecture", "lenet5", *PROGRAM)


def test_torchscript_with_a_swapped_pickle_runs_nothing(
    tmp_path: Path, marker: Path, files: dict[str, Path], refused: Refused
) -> None:
    path = model_files.with_entry(files["torchscript"], tmp_path / "m.pt", "/data.pkl", PAYLOADS["reduce"](marker))
    refused(path, *PROGRAM)


def test_exported_program_with_pickled_weights_runs_nothing_outside(
    tmp_path: Path, marker: Path, files: dict[str, Path], refused: Refused
) -> None:
    refused(model_files.exported_with_payload(files["exported"], tmp_path / "m.pt2", marker), "--outputs", "logits")


def test_exported_program_with_code_for_sizes_runs_nothing_outside(
    tmp_path: Path, marker: Path, files: dict[str, Path], refused: Refused
) -> None:
    refused(model_files.exported_with_code(files["exported"], tmp_path / "m.pt2", marker), "--outputs", "logits")


def test_program_that_never_returns_is_ended(tmp_path: Path) -> None:
    path = model_files.write_torchscript(model_files.Forever(), tmp_path / "m.pt")
    start = time.monotonic()
    with pytest.raises(ModelFileError, match=r"wall time|limits"):
        load_classifier(path, limits=Limits(wall_seconds=25), **options_for("torchscript"))
    assert time.monotonic() - start < 40


def test_program_that_allocates_without_end_is_stopped(tmp_path: Path) -> None:
    path = model_files.write_torchscript(model_files.Greedy(), tmp_path / "m.pt")
    with pytest.raises(UndecidedError, match=r"memory|alloc"):
        load_classifier(path, limits=Limits(memory_bytes=2**30), **options_for("torchscript"))


def test_program_that_answers_nan_is_refused(tmp_path: Path, refused: Refused) -> None:
    path = model_files.write_torchscript(model_files.Silent(), tmp_path / "m.pt")
    assert "NaN" in refused(path, *PROGRAM)


def test_program_can_neither_make_nor_read_a_file(tmp_path: Path, marker: Path, refused: Refused) -> None:
    (tmp_path / "secret").write_bytes(b"12345678")
    path = model_files.write_torchscript(model_files.Burglar(str(marker), str(tmp_path / "secret")), tmp_path / "m.pt")
    refused(path, *PROGRAM)
    reader = model_files.Burglar(str(tmp_path / "secret"), str(tmp_path / "secret"))
    path = model_files.write_torchscript(reader, tmp_path / "n.pt")
    refused(path, *PROGRAM)
    assert (tmp_path / "secret").read_bytes() == b"12345678"


def test_nothing_hostile_opens_a_connection(tmp_path: Path, files: dict[str, Path], refused: Refused) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        code = f"import socket; socket.create_connection({server.getsockname()!r}).send(b'x')"
        payload = model_files.payload_by_code(code)
        path = model_files.exported_with_pickle(files["exported"], tmp_path / "m.pt2", payload)
        refused(path, "--outputs", "logits")
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"),
        (b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>", "is a web page"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(100), "unpack it first"),
        (b"Rar!\x1a\x07\x01\x00" + bytes(100), "unpack it first"),
    ],
)
def test_what_came_instead_of_a_model_is_named(contents: bytes, said: str, tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(contents)
    assert said in refused(path)
