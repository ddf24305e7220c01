"""What a network wants to see and how it answers, as networks really do: each gives the signature of its plain form."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

import onepixel
from onepixel.cli import main
from onepixel.errors import AnswerError, InputShapeError, UsageError
from onepixel.opening.preparation import image_layout
from onepixel.signatures import Signature
from opening import model_files
from opening.model_files import SHAPE, lenet_graph, network
from opening.test_checkpoints import FEW, opened, same

LOGITS: dict[str, Any] = {"outputs": "logits"}
OF_28: dict[str, Any] = {"input_shape": SHAPE}


@pytest.fixture(scope="module")
def expected() -> Signature:
    return onepixel.signature(onepixel.as_classifier(network(), input_shape=SHAPE), **FEW)


def with_preprocessing(path: Path, scale: float, shift: float, element: int = TensorProto.FLOAT) -> Path:
    """The network behind (images * scale + shift), as exporters put preprocessing into the graph."""
    model = model_files.lenet_graph(network())
    del model.graph.node[0]
    numbers = {"scale": scale, "shift": shift}
    model.graph.initializer.extend(numpy_helper.from_array(np.float32(each), name) for name, each in numbers.items())
    nodes = [
        helper.make_node("Cast", ["images"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["numbers", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["seen"]),
    ]
    for place, node in enumerate(nodes):
        model.graph.node.insert(place, node)
    model.graph.input[0].type.tensor_type.elem_type = element
    onnx.save(model, path)
    return path


def test_float_images_from_0_to_255_and_from_minus_1_to_1(tmp_path: Path, expected: Signature) -> None:
    bytes_like = opened(with_preprocessing(tmp_path / "b", 1 / 255, 0), pixel_range=(0, 255), **LOGITS)
    signed = opened(with_preprocessing(tmp_path / "s", 0.5, 0.5), pixel_range=(-1, 1), normalize=None, **LOGITS)
    assert same(bytes_like, expected, 1e-3)
    assert same(signed, expected, 1e-3)
    assert "from 0 to 255, as you said" in " ".join(bytes_like.assumptions)
    assert "from -1 to 1, as you said" in " ".join(signed.assumptions)


def test_range_comes_before_the_normalisation(tmp_path: Path, expected: Signature) -> None:
    path = with_preprocessing(tmp_path / "m", 50 / 255, 100 / 255)
    classifier = opened(path, pixel_range=(0, 255), normalize=((100,), (50,)), **LOGITS)
    assert same(classifier, expected, 1e-3)


def test_whole_number_images_are_fed_as_such_whatever_was_said_of_floats(tmp_path: Path) -> None:
    path = with_preprocessing(tmp_path / "m", 1 / 255, 0, TensorProto.UINT8)
    images = torch.randint(0, 256, (4, *SHAPE)).float() / 255
    for said in ({"normalize": "none"}, {"normalize": None}, {"normalize": None, "pixel_range": (0, 255)}):
        classifier = opened(path, **said, **LOGITS)
        torch.testing.assert_close(classifier(images), network()(images).detach(), rtol=1e-4, atol=1e-4)
        assert "whole numbers from 0 to 255, as its input type says" in classifier.assumptions[1]
    for said in ({"normalize": ((0.1,), (0.3,))}, {"normalize": None, "pixel_range": (-1, 1)}):
        with pytest.raises(UsageError, match="takes whole numbers from 0 to 255"):
            opened(path, **said, **LOGITS)


def test_answers_that_hardly_depend_on_the_image_are_noticed(tmp_path: Path) -> None:
    path = with_preprocessing(tmp_path / "m", 1 / 255, 0)
    assert any("hardly depend on the image" in said for said in opened(path, **LOGITS).assumptions)
    assert not any("hardly" in said for said in opened(path, pixel_range=(0, 255), **LOGITS).assumptions)


def test_range_is_read_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = with_preprocessing(tmp_path / "m", 0.5, 0.5)
    words = ["signature", str(path), "--outputs", "logits", "--out", str(tmp_path / "o"), "--values", "2", "--quiet"]
    assert main([*words, "--stride", "14", "--range", "-1,1"]) == 0
    assert "from -1 to 1" in capsys.readouterr().out
    for wrong in ("1", "1,1", "a,b", "0,1,2", "0,inf"):
        assert main([*words, "--range", wrong]) == 2
        assert "such as 0,255" in capsys.readouterr().err


def test_softmax_gives_the_same_signature_up_to_the_floor(tmp_path: Path, expected: Signature) -> None:
    classifier = opened(model_files.write_onnx(network(), tmp_path / "m", softmax=True))
    assert same(classifier, expected.floored(), 1e-3)


def test_of_two_answers_the_one_that_is_no_label_is_read(tmp_path: Path, expected: Signature) -> None:
    model = model_files.lenet_graph(network())
    model.graph.node.append(helper.make_node("ArgMax", ["logits"], ["label"], axis=1))
    model.graph.output.insert(0, helper.make_tensor_value_info("label", TensorProto.INT64, ["N", 1]))
    onnx.save(model, tmp_path / "m")
    classifier = opened(tmp_path / "m", **LOGITS)
    assert same(classifier, expected, 1e-3)
    assert any("answers is read: the others are labels" in said for said in classifier.assumptions)


def test_of_two_distributions_the_user_picks_one(tmp_path: Path, expected: Signature) -> None:
    model = model_files.lenet_graph(network(), softmax=True)
    model.graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10]))
    onnx.save(model, tmp_path / "m")
    with pytest.raises(UsageError, match=r"2 tensors \(answers, logits\); say which with --output"):
        opened(tmp_path / "m")
    with pytest.raises(UsageError, match="no answer 'lables'"):
        opened(tmp_path / "m", output="lables")
    assert same(opened(tmp_path / "m", output="logits", **LOGITS), expected, 1e-3)
    assert opened(tmp_path / "m", output="0").outputs == "probabilities"


class TwoAnswers(nn.Module):
    """Features beside the answers."""

    def __init__(self) -> None:
        super().__init__()
        self.network = network()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images.flatten(1), self.network(images)


def test_of_two_answers_of_a_program_the_user_picks_one(tmp_path: Path, expected: Signature) -> None:
    path = model_files.write_torchscript(TwoAnswers(), tmp_path / "m", traced=True)
    with pytest.raises(UsageError, match="say which with --output"):
        opened(path, input_shape=SHAPE, **LOGITS)
    assert same(opened(path, input_shape=SHAPE, output="1", **LOGITS), expected)


@pytest.mark.parametrize("sigmoid", [True, False])
def test_one_unit_becomes_two_classes(sigmoid: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(784, 1)
    weights = {"w": linear.weight.detach().numpy(), "b": linear.bias.detach().numpy()}
    nodes = [
        helper.make_node("Flatten", ["images"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["z"], transB=1),
        helper.make_node("Sigmoid" if sigmoid else "Identity", ["z"], ["answers"]),
    ]
    onnx.save(model_files.onnx_model(nodes, weights), tmp_path / "m")
    layers = [nn.Flatten(), linear, *([nn.Sigmoid()] if sigmoid else [])]
    program = model_files.write_torchscript(nn.Sequential(*layers), tmp_path / "p", traced=True)
    images = torch.rand(3, *SHAPE)
    log_odds = linear(images.flatten(1)).detach()[:, 0]
    said: dict[str, Any] = {} if sigmoid else LOGITS
    for path, more in ((tmp_path / "m", {}), (program, {"input_shape": SHAPE})):
        classifier = opened(path, **said, **more)
        answers = classifier(images)
        assert classifier.classes == 2
        found = torch.log(answers[:, 1] / answers[:, 0]) if sigmoid else answers[:, 1] - answers[:, 0]
        torch.testing.assert_close(found, log_odds, rtol=1e-4, atol=1e-4)
        assert "two classes" in " ".join(classifier.assumptions)
    many = [nodes[0], helper.make_node("Sigmoid", ["f"], ["answers"])]
    onnx.save(model_files.onnx_model(many), tmp_path / "many")
    with pytest.raises(AnswerError, match="one independent number per class"):
        opened(tmp_path / "many")


def test_dynamically_quantised_graph_is_asked_one_image_at_a_time(tmp_path: Path, expected: Signature) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization")
    model_files.write_onnx(network(), tmp_path / "m")
    quantization.quantize_dynamic(tmp_path / "m", tmp_path / "q")
    classifier = opened(tmp_path / "q", **LOGITS)
    images = torch.rand(5, *SHAPE)
    torch.testing.assert_close(classifier(images), torch.cat([classifier(image[None]) for image in images]))
    torch.testing.assert_close(classifier(images), network()(images).detach(), rtol=0, atol=0.05)
    assert any("one at a time" in said for said in classifier.assumptions)


def test_quantised_graph_with_fixed_scales_is_asked_in_batches(tmp_path: Path) -> None:
    model = model_files.lenet_graph(network())
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1 / 255), "s"))
    model.graph.initializer.append(numpy_helper.from_array(np.uint8(0), "z"))
    model.graph.node[0].CopyFrom(helper.make_node("DequantizeLinear", ["q", "s", "z"], ["seen"]))
    model.graph.node.insert(0, helper.make_node("QuantizeLinear", ["images", "s", "z"], ["q"]))
    onnx.save(model, tmp_path / "m")
    images = torch.randint(0, 256, (4, *SHAPE)).float() / 255
    classifier = opened(tmp_path / "m", **LOGITS)
    torch.testing.assert_close(classifier(images), network()(images).detach(), rtol=1e-4, atol=1e-4)
    assert not any("one at a time" in said for said in classifier.assumptions)


@pytest.mark.parametrize("opset", [9, 11, 13, 15, 18, 20, 22])
def test_opsets_from_9_to_22(opset: int, tmp_path: Path, expected: Signature) -> None:
    model = model_files.lenet_graph(network())
    model.opset_import[0].version = opset
    onnx.save(model, tmp_path / "m")
    assert same(opened(tmp_path / "m", **LOGITS), expected, 1e-3)


@pytest.mark.parametrize("form", ["onnx", "exported"])
def test_batches_of_one_only(form: str, tmp_path: Path, expected: Signature) -> None:
    if form == "onnx":
        model = model_files.lenet_graph(network())
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
        onnx.save(model, tmp_path / "m")
    else:
        torch.export.save(torch.export.export(network(), (torch.zeros(1, *SHAPE),)), tmp_path / "m")
    assert same(opened(tmp_path / "m", **LOGITS), expected, 1e-3)


def test_images_with_the_channels_last(tmp_path: Path, expected: Signature) -> None:
    assert same(opened(model_files.write_onnx(network(), tmp_path / "m", channels_last=True), **LOGITS), expected, 1e-3)


@pytest.mark.parametrize("form", ["torchscript", "exported", "onnx"])
def test_programs_of_16_bits_are_judged(form: str, tmp_path: Path, expected: Signature) -> None:
    if form == "torchscript":
        path = model_files.write_torchscript(network().half(), tmp_path / "m", traced=False)
    elif form == "exported":
        path = tmp_path / "m"
        torch.export.save(torch.export.export(network().half(), (torch.zeros(1, *SHAPE).half(),)), path)
    else:
        model = model_files.lenet_graph(network())
        for weight in model.graph.initializer:
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), weight.name))
        model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16
        path = tmp_path / "m"
        onnx.save(model, path)
    classifier = opened(path, input_shape=SHAPE, **LOGITS)
    assert classifier.dtype == torch.float32
    assert same(classifier, expected, 0.02)


def test_program_of_16_bits_gets_its_signature_out_of_the_sandbox(tmp_path: Path) -> None:
    path = model_files.write_torchscript(network().half(), tmp_path / "m")
    classifier: Any = onepixel.load_classifier(path, input_shape=SHAPE, normalize="none", **LOGITS)
    assert onepixel.signature(classifier, **FEW).base.dtype == np.float32
    classifier.close()


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        (["N", 28, 28], {}),
        ([1, 28, 28], {}),
        (["N", 784], {"input_shape": SHAPE}),
        (["N", "D"], {"input_shape": SHAPE}),
    ],
)
def test_grey_images_without_channels_and_numbers_in_a_row(
    sizes: list[Any], said: dict[str, Any], tmp_path: Path, expected: Signature
) -> None:
    model = lenet_graph(network())
    model.graph.node[0].CopyFrom(helper.make_node("Reshape", ["images", "shape"], ["seen"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1, *SHAPE]), "shape"))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("images", TensorProto.FLOAT, sizes))
    onnx.save(model, tmp_path / "m")
    classifier = opened(tmp_path / "m", **LOGITS, **said)
    assert same(classifier, expected, 1e-4)
    assert f"given to the network as (N, {'28, 28' if len(sizes) == 3 else '784'})" in classifier.assumptions[0]


@pytest.mark.parametrize(
    ("sizes", "said", "sentence"),
    [
        (["N", 784], {}, "does not tell the size of its images"),
        (["N", 784], {"input_shape": (1, 8, 8)}, "no images of shape"),
        ([3, 28, 28], {}, "needs batches of images"),
        (["N", 28, 28], {"input_shape": (3, 28, 28)}, "no images of shape"),
    ],
)
def test_other_shapes_are_asked_for_or_refused(sizes: list[Any], said: dict[str, Any], sentence: str) -> None:
    declared = [size if isinstance(size, int) else None for size in sizes]
    with pytest.raises((UsageError, InputShapeError), match=sentence):
        image_layout(declared, said.get("input_shape"), "m")


@pytest.mark.parametrize("form", ["ONNX", "program"])
def test_answers_with_an_axis_for_one_position(form: str, tmp_path: Path, expected: Signature) -> None:
    if form == "ONNX":
        model = lenet_graph(network())
        model.graph.node[-1].CopyFrom(helper.make_node("Unsqueeze", ["logits", "axes"], ["answers"]))
        model.graph.initializer.append(numpy_helper.from_array(np.array([2, 3]), "axes"))
        del model.graph.output[:]
        model.graph.output.append(helper.make_tensor_value_info("answers", TensorProto.FLOAT, ["N", 10, 1, 1]))
        onnx.save(model, tmp_path / "m")
    else:
        module = nn.Sequential(network(), nn.Unflatten(1, (10, 1, 1)))
        torch.jit.trace(module, torch.zeros(1, *SHAPE)).save(str(tmp_path / "m"))
    assert same(opened(tmp_path / "m", **LOGITS, input_shape=SHAPE), expected, 1e-4)
