"""The same network, whatever it is packed in."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from sklearn.ensemble import RandomForestClassifier
from torch import nn

import onepixel
from onepixel.errors import AnswerError, InputShapeError, ModelFileError, UsageError
from onepixel.opening import Format, Limits
from onepixel.opening.recognise import recognise
from onepixel.sandbox.level import LEVELS, missing
from onepixel.signatures import Signature
from opening import model_files
from opening.model_files import SHAPE, WRITERS, network, options_for

FEW = {"values": 8, "pixels": 6}


@pytest.fixture(scope="module")
def expected() -> Signature:
    return onepixel.signature(onepixel.as_classifier(network(), input_shape=SHAPE), engine="exhaustive", **FEW)


@pytest.mark.parametrize("form", WRITERS)
def test_signature_is_the_same_in_every_format(form: str, files: dict[str, Path], expected: Signature) -> None:
    classifier = onepixel.load_classifier(files[form], **options_for(form))
    found = onepixel.signature(classifier, **FEW)
    assert (found.settings, found.shape) == (expected.settings, expected.shape)
    visited = expected.visited
    assert np.abs(found.values("max") - expected.values("max"))[:, visited].max() < 1e-4
    assert np.abs(found.values("largest_change") - expected.values("largest_change"))[:, visited].max() < 1e-4
    assert classifier.assumptions


@pytest.mark.parametrize("form", ["torchscript", "exported"])
def test_programs_get_the_fast_engine_inside_the_sandbox(form: str, files: dict[str, Path]) -> None:
    classifier = onepixel.load_classifier(files[form], **options_for(form))
    found = onepixel.signature(classifier, values=64, pixels=2)
    assert found.engine == "incremental", found.note
    assert any("sandbox" in sentence for sentence in classifier.assumptions)


@pytest.mark.parametrize("form", WRITERS)
def test_formats_are_recognised_by_content(form: str, files: dict[str, Path]) -> None:
    names = {"onnx": Format.ONNX, "safetensors": Format.SAFETENSORS, "state_dict": Format.STATE_DICT}
    names |= {"torchscript": Format.TORCHSCRIPT, "exported": Format.EXPORTED_PROGRAM}
    assert recognise(files[form], Limits()) is names[form]


def test_final_softmax_of_an_onnx_file_says_probabilities(tmp_path: Path) -> None:
    path = model_files.write_onnx(network(), tmp_path / "m", softmax=True)
    classifier = onepixel.load_classifier(path, normalize="none")
    assert classifier.outputs == "probabilities"
    with pytest.raises(UsageError, match="so it answers probabilities, not logits"):
        onepixel.load_classifier(path, normalize="none", outputs="logits")


def test_channels_last_onnx_answers_as_channels_first(tmp_path: Path) -> None:
    images = torch.rand(5, *SHAPE)
    path = model_files.write_onnx(network(), tmp_path / "m", channels_last=True)
    classifier = onepixel.load_classifier(path, normalize="none", outputs="logits")
    torch.testing.assert_close(classifier(images), network()(images).detach(), rtol=1e-4, atol=1e-4)
    assert "(N, H, W, C)" in classifier.assumptions[0]


def test_fixed_batch_size_is_respected(tmp_path: Path) -> None:
    model = model_files.lenet_graph(network())
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    onnx.save(model, tmp_path / "m")
    images = torch.rand(7, *SHAPE)
    classifier = onepixel.load_classifier(tmp_path / "m", normalize="none", outputs="logits")
    torch.testing.assert_close(classifier(images), network()(images).detach(), rtol=1e-4, atol=1e-4)


def test_whole_number_input_gets_values_up_to_255(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["images"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["f"], ["answers"]),
    ]
    onnx.save(model_files.onnx_model(nodes, element=TensorProto.UINT8), tmp_path / "m")
    classifier = onepixel.load_classifier(tmp_path / "m", outputs="logits")
    assert classifier(torch.full((1, *SHAPE), 0.6)).unique().tolist() == [153.0]
    assert "0 to 255" in classifier.assumptions[1]


def test_normalization_is_applied(files: dict[str, Path]) -> None:
    images = torch.rand(2, *SHAPE)
    for form in ("onnx", "safetensors"):
        options = {**options_for(form), "normalize": ((0.1307,), (0.3081,))}
        answers = onepixel.load_classifier(files[form], **options)(images)
        torch.testing.assert_close(answers, network()((images - 0.1307) / 0.3081).detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("form", "left_out", "asked_for"),
    [
        ("onnx", "normalize", "--normalize"),
        ("onnx", "outputs", "--outputs"),
        ("state_dict", "architecture", "--architecture"),
        ("safetensors", "normalize", "--normalize"),
    ],
)
def test_what_a_file_does_not_say_is_asked_for(
    form: str, left_out: str, asked_for: str, files: dict[str, Path]
) -> None:
    options = {key: value for key, value in options_for(form).items() if key != left_out}
    with pytest.raises(UsageError, match=asked_for):
        onepixel.load_classifier(files[form], **options)


def test_weights_of_another_architecture_are_refused(files: dict[str, Path]) -> None:
    for architecture in ("resnet8", "digits_cnn"):
        with pytest.raises(ModelFileError, match=f"does not fit {architecture}"):
            onepixel.load_classifier(files["safetensors"], architecture=architecture, normalize="none")


def test_wrapped_and_parallel_state_dicts_are_unwrapped_and_said(tmp_path: Path) -> None:
    weights = {f"module.{name}": tensor for name, tensor in network().state_dict().items()}
    torch.save({"epoch": 3, "state_dict": weights}, tmp_path / "m")
    classifier = onepixel.load_classifier(tmp_path / "m", architecture="lenet5", normalize="none")
    assert sum("'state_dict'" in said or "'module.'" in said for said in classifier.assumptions) == 2


def test_architecture_of_the_users_own_is_imported_when_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_net.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.Softmax(dim=1))\n"
    )
    torch.manual_seed(0)
    torch.save(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).state_dict(), tmp_path / "m")
    monkeypatch.chdir(tmp_path)
    options = {"architecture": "their_net:build", "input_shape": (1, 4, 4), "normalize": "none"}
    assert onepixel.load_classifier(tmp_path / "m", **options).outputs == "probabilities"
    assert onepixel.load_classifier(tmp_path / "m", sandbox="require", **options).outputs == "probabilities"
    with pytest.raises(UsageError, match="Cannot build their_net:other"):
        onepixel.load_classifier(tmp_path / "m", **{**options, "architecture": "their_net:other"})


@pytest.mark.parametrize(
    ("nodes", "sentence"),
    [
        ([("Flatten", ["images"], ["flat"]), ("Sigmoid", ["flat"], ["answers"])], "one independent number per class"),
        ([("Flatten", ["images"], ["flat"]), ("ArgMax", ["flat"], ["answers"])], "a ranking or a label"),
    ],
)
def test_heads_that_are_no_distribution_are_refused(nodes: list[tuple], sentence: str, tmp_path: Path) -> None:
    made = [helper.make_node(kind, inputs, outputs) for kind, inputs, outputs in nodes]
    model = model_files.onnx_model(made)
    if made[-1].op_type == "ArgMax":
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    onnx.save(model, tmp_path / "m")
    with pytest.raises(AnswerError, match=sentence):
        onepixel.load_classifier(tmp_path / "m", outputs="logits", normalize="none")


def test_images_of_another_shape_are_refused(files: dict[str, Path]) -> None:
    with pytest.raises(InputShapeError, match=r"no images of shape \(3, 32, 32\)"):
        onepixel.load_classifier(files["onnx"], outputs="logits", normalize="none", input_shape=(3, 32, 32))


def test_skops_model_answers_as_the_estimator_itself(tmp_path: Path) -> None:
    skops = pytest.importorskip("skops.io")
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(0)
    estimator = LogisticRegression().fit(generator.random((60, 16)), np.arange(60) % 3)
    skops.dump(estimator, tmp_path / "m")
    classifier = onepixel.load_classifier(tmp_path / "m", input_shape=(1, 4, 4), normalize="none")
    images = torch.rand(4, 1, 4, 4)
    np.testing.assert_allclose(classifier(images).numpy(), estimator.predict_proba(images.flatten(1).numpy()))


def test_skops_forest_answers_as_the_estimator_itself_in_a_sandbox(tmp_path: Path) -> None:
    skops = pytest.importorskip("skops.io")
    if all(missing(level) for level in LEVELS):
        pytest.skip("this machine has no sandbox, without which trees are refused")
    generator = np.random.default_rng(0)
    forest = RandomForestClassifier(n_estimators=3, max_depth=3).fit(generator.random((60, 16)), np.arange(60) % 3)
    skops.dump(forest, tmp_path / "m")
    classifier = onepixel.load_classifier(tmp_path / "m", input_shape=(1, 4, 4), normalize="none", sandbox="use")
    images = torch.rand(4, 1, 4, 4)
    np.testing.assert_allclose(classifier(images).numpy(), forest.predict_proba(images.flatten(1).numpy()), rtol=1e-6)


def test_onnx_weights_beside_the_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "shift.bin").write_bytes(np.arange(12, dtype=np.float32).tobytes())
    path = model_files.write_onnx_with_outside_weights(tmp_path / "m", "weights/shift.bin", offset=8)
    classifier = onepixel.load_classifier(path, outputs="logits", normalize="none")
    assert classifier(torch.zeros(1, *SHAPE)).tolist() == [list(range(2, 12))]
