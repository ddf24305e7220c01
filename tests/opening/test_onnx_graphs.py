"""ONNX graphs become torch modules that mean the same, or ONNX Runtime answers and the reason is told."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from torch import Tensor, nn

import onepixel
from onepixel.architectures import architecture
from onepixel.opening import onnx_file, onnx_operators
from onepixel.opening.onnx_file import RuntimeJudged
from onepixel.opening.onnx_graph import MOST_OPERATIONS, graph_module
from onepixel.opening.onnx_module import Maps, NotConvertibleError
from onepixel.opening.preparation import Layout
from opening.model_files import lenet_graph, network, onnx_model

SIZES = (2, 9, 8)
Nodes = list[tuple[str, str, dict[str, Any]]]


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(0, 0.5, shape).astype(np.float32)


WEIGHTS = {
    "w": drawn(4, 2, 3, 3),
    "w2x2": drawn(3, 2, 2, 2),
    "by_group": drawn(4, 1, 3, 2),
    "bias": drawn(4),
    "four": drawn(4),
    "variance": np.abs(drawn(4)) + 0.5,
    "per_channel": drawn(2, 1, 1),
    "slopes": drawn(4, 1, 1),
    "number": np.float32(0.7),
    "low": np.float32(-0.2),
    "high": np.float32(0.6),
    "pads": np.array([0, 0, 1, 0, 0, 0, 2, 3]),
    "hw": np.array([2, 3]),
    "last": np.array([-1]),
    "rows": np.array([0, -1]),
    "rows1": np.array([1, -1]),
    "rows3": np.array([3, -1]),
    "fixed": np.array([-1, 2, 72]),
    "mixing": np.array([2, -1, 9, 8]),
    "parted": np.array([-1, 2, 9, 2, 4]),
    "true_shape": np.array([0, 2, 9, 8]),
}
CONV: Nodes = [("Conv", "images w bias > c", {})]
"""What comes before rows of the table that take maps of four channels."""


def after_convolution(operator: str, **attributes: Any) -> Nodes:
    return [*CONV, (operator, "c > maps", attributes)]


BODIES: dict[str, Nodes | tuple[int, Nodes]] = {
    "convolution": [("Conv", "images w bias > maps", {"pads": [1, 1, 1, 1], "strides": [2, 1]})],
    "convolution padded unevenly": [("Conv", "images w > maps", {"pads": [0, 1, 2, 0], "dilations": [2, 1]})],
    "convolution SAME_UPPER": [("Conv", "images w2x2 > maps", {"auto_pad": "SAME_UPPER", "strides": [2, 2]})],
    "convolution SAME_LOWER": [("Conv", "images w2x2 > maps", {"auto_pad": "SAME_LOWER"})],
    "convolution VALID": [("Conv", "images w > maps", {"auto_pad": "VALID", "kernel_shape": [3, 3]})],
    "convolution in groups": [("Conv", "images by_group > maps", {"group": 2, "kernel_shape": [3, 2]})],
    "max pooling": after_convolution("MaxPool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 1, 1, 1]),
    "max pooling, ceiling": after_convolution("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    "max pooling, dilated": after_convolution("MaxPool", kernel_shape=[2, 2], dilations=[2, 3]),
    "max pooling SAME_UPPER": after_convolution(
        "MaxPool", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER", storage_order=0
    ),
    "average pooling": after_convolution("AveragePool", kernel_shape=[2, 3], strides=[2, 1]),
    "average pooling of padding": after_convolution(
        "AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1
    ),
    "average pooling beside padding": after_convolution("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "average pooling padded unevenly": after_convolution(
        "AveragePool", kernel_shape=[3, 3], pads=[0, 1, 2, 1], count_include_pad=1
    ),
    "global average": after_convolution("GlobalAveragePool"),
    "global maximum": after_convolution("GlobalMaxPool"),
    "mean by attribute": after_convolution("ReduceMean", axes=[-2, -1], keepdims=0),
    "mean by input": (18, [*CONV, ("ReduceMean", "c hw > maps", {"noop_with_empty_axes": 0})]),
    "batch norm": [*CONV, ("BatchNormalization", "c four bias four variance > maps", {"epsilon": 1e-3})],
    "residual": [*CONV, ("Relu", "c > d", {}), ("Add", "c d > maps", {})],
    "difference": [*CONV, ("Relu", "c > d", {}), ("Sub", "c d > maps", {})],
    "gate": [*CONV, ("Sigmoid", "c > d", {}), ("Mul", "c d > maps", {})],
    "squeeze and excitation": [
        *CONV,
        ("GlobalAveragePool", "c > mean", {}),
        ("HardSigmoid", "mean > d", {"alpha": 1 / 6}),
        ("Mul", "d c > maps", {}),
    ],
    "constants": [
        ("Sub", "images number > a", {}),
        ("Div", "a number > b", {}),
        ("Mul", "per_channel b > d", {}),
        ("Add", "d per_channel > maps", {}),
    ],
    "constant minus maps": [("Sub", "number images > maps", {})],
    "constant made of constants": [("Mul", "number per_channel > p", {}), ("Mul", "images p > maps", {})],
    "concatenation": [*CONV, ("Tanh", "c > d", {}), ("Concat", "c d > maps", {"axis": 1})],
    "padding": [("Pad", "images pads > maps", {"mode": "constant"})],
    "padding with a number": [("Pad", "images pads number > maps", {})],
    "padding by attribute": (10, [("Pad", "images > maps", {"pads": [0, 0, 1, 0, 0, 0, 0, 2], "value": 0.0})]),
    "clip": [*CONV, ("Clip", "c low high > maps", {})],
    "clip from below": [*CONV, ("Clip", "c low > maps", {})],
    "clip by attribute": (10, [*CONV, ("Clip", "c > maps", {"min": 0.0, "max": 0.5})]),
    "leaky relu": after_convolution("LeakyRelu", alpha=0.2),
    "slopes": [*CONV, ("PRelu", "c slopes > maps", {})],
    "elu": after_convolution("Elu", alpha=0.7),
    "hard swish": after_convolution("HardSwish"),
    "hard sigmoid": after_convolution("HardSigmoid"),
    "gelu": (20, after_convolution("Gelu", approximate="tanh")),
    "softplus": after_convolution("Softplus"),
    "gelu by erf": [
        *CONV,
        ("Div", "c number > d", {}),
        ("Erf", "d > e", {}),
        ("Add", "e number > h", {}),
        ("Mul", "c h > maps", {}),
    ],
    "identity and dropout": [
        ("Identity", "w > v", {}),
        ("Conv", "images v bias > c", {}),
        ("Identity", "c > d", {}),
        ("Dropout", "d > e", {}),
        ("Cast", "e > maps", {"to": TensorProto.FLOAT}),
    ],
    "there and back": [
        ("Transpose", "images > t", {"perm": [0, 2, 3, 1]}),
        ("Relu", "t > r", {}),
        ("Mul", "r number > scaled", {}),
        ("Transpose", "scaled > u", {"perm": [0, 3, 1, 2]}),
        ("Conv", "u w > maps", {}),
    ],
    "channels last before the dense layer": [*CONV, ("Transpose", "c > maps", {"perm": [0, 2, 3, 1]})],
    "reshaped and back": [("Reshape", "images fixed > r", {}), ("Reshape", "r true_shape > maps", {})],
    "axes dropped and added": [
        *CONV,
        ("GlobalAveragePool", "c > g", {}),
        ("Squeeze", "g hw > s", {}),
        ("Relu", "s > r", {}),
        ("Unsqueeze", "r hw > maps", {}),
    ],
    "axes dropped by attribute": (
        11,
        [*CONV, ("GlobalAveragePool", "c > g", {}), ("Squeeze", "g > maps", {"axes": [3]})],
    ),
}
"""Graphs from images to maps, with the version of ONNX's operators where it is not 17; all become modules."""

HEADS: dict[str, Nodes] = {
    "flatten and gemm": [("Flatten", "maps > f", {}), ("Gemm", "f head > answers", {"alpha": 0.5})],
    "reshape and matmul": [
        ("Reshape", "maps rows > f", {}),
        ("MatMul", "f head > m", {}),
        ("Add", "m head_bias > answers", {}),
    ],
    "gemm and softmax": [
        ("Flatten", "maps > f", {"axis": 1}),
        ("Gemm", "f head_t head_bias > z", {"transB": 1, "beta": 2.0}),
        ("Softmax", "z > answers", {"axis": 1}),
    ],
}


def node(operator: str, flow: str, attributes: dict[str, Any]) -> onnx.NodeProto:
    taken, given = flow.split(">")
    return helper.make_node(operator, taken.split(), given.split(), **attributes)


def graph(body: Nodes, head: Nodes, opset: int = 17, batch: int | str = "N") -> onnx.ModelProto:
    """A model of images (2, 9, 8); the head's weights fit whatever the body gives."""
    nodes = [node(*row) for row in body]
    sizes = [batch, *SIZES]
    known = onnx.shape_inference.infer_shapes(onnx_model(nodes, WEIGHTS, sizes, opset=opset))
    shape = next(v.type.tensor_type.shape.dim for v in known.graph.value_info if v.name == "maps")
    numbers = int(np.prod([size.dim_value for size in shape[1:]]))
    weights = {"head": drawn(numbers, 3), "head_t": drawn(3, numbers), "head_bias": drawn(3)}
    used = {name for row in (*body, *head) for name in row[1].split()}
    kept = {name: array for name, array in {**WEIGHTS, **weights}.items() if name in used}
    return onnx_model([*nodes, *(node(*row) for row in head)], kept, sizes, opset=opset)


def opened(model: onnx.ModelProto, path: Path, **options: Any) -> Any:
    onnx.save(model, path)
    options = {"outputs": "logits", "normalize": "none", "input_shape": SIZES} | options
    return onepixel.load_classifier(path, **options)


def assert_engines_agree(classifier: Any, **settings: Any) -> None:
    """The module by the incremental engine gives what ONNX Runtime gives by the exhaustive one."""
    found = onepixel.signature(classifier, engine="incremental", **settings)
    expected = onepixel.signature(classifier, engine="exhaustive", **settings)
    for name in ("low", "high"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("name", BODIES)
def test_module_gives_the_signature_that_onnx_runtime_gives(name: str, tmp_path: Path) -> None:
    row = BODIES[name]
    opset, body = row if isinstance(row, tuple) else (17, row)
    # Up to version 10, Gemm needs a third input.
    head = HEADS["flatten and gemm" if opset > 10 and len(name) % 2 else "reshape and matmul"]
    classifier = opened(graph(body, head, opset), tmp_path / "m")
    assert isinstance(classifier, RuntimeJudged), classifier.assumptions
    assert_engines_agree(classifier, values=3)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("batch", ["N", 1, 3])
def test_heads_and_fixed_batches_are_understood(name: str, batch: int | str, tmp_path: Path) -> None:
    head = HEADS[name]
    if batch != "N":
        head = [(operator, flow.replace("rows", f"rows{batch}"), rest) for operator, flow, rest in head]
    outputs = "probabilities" if "softmax" in name else "logits"
    classifier = opened(graph(BODIES["leaky relu"], head, batch=batch), tmp_path / "m", outputs=outputs)
    assert isinstance(classifier, RuntimeJudged), classifier.assumptions
    assert_engines_agree(classifier, values=3, pixels=4)


REFUSED: dict[str, tuple[str, Nodes]] = {
    "unknown operator": ("no rule for the operator Cos", [("Cos", "images > maps", {})]),
    "rows and columns exchanged": (
        "in another order",
        [("Transpose", "images > t", {"perm": [0, 1, 3, 2]}), ("Conv", "t w > maps", {})],
    ),
    "softmax over columns": ("softmax over something else", [("Softmax", "images > maps", {"axis": 3})]),
    "reflected borders": ("pads in a way", [("Pad", "images pads > maps", {"mode": "reflect"})]),
    "uneven average": ("padded unevenly", after_convolution("AveragePool", kernel_shape=[2, 2], auto_pad="SAME_UPPER")),
    "mean over channels": ("a mean over something else", [("ReduceMean", "images > maps", {"axes": [1]})]),
    "float64": (
        "casts to the type 11",
        [("Cast", "images > d", {"to": TensorProto.DOUBLE}), ("Cast", "d > maps", {"to": TensorProto.FLOAT})],
    ),
    "computed shape": (
        "no rule for the operator Shape",
        [("Shape", "images > s", {}), ("Reshape", "images s > maps", {})],
    ),
    "images mixed": ("need not keep images apart", [("Reshape", "images mixing > maps", {})]),
    "numbers shuffled": (
        "in another order",
        [
            ("Reshape", "images parted > five", {}),
            ("Transpose", "five > t", {"perm": [0, 1, 2, 4, 3]}),
            ("Reshape", "t true_shape > s", {}),
            ("Conv", "s w > maps", {}),
        ],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_graphs_are_not_converted_and_the_reason_is_said(name: str) -> None:
    reason, body = REFUSED[name]
    with pytest.raises(NotConvertibleError, match=reason):
        graph_module(graph(body, HEADS["flatten and gemm"]), Layout(SIZES), "images", "answers")


def test_operators_that_a_file_redefines_are_not_converted() -> None:
    model = graph(after_convolution("Relu"), HEADS["flatten and gemm"])
    redefined = helper.make_function(
        "", "Relu", ["x"], ["y"], [helper.make_node("Neg", ["x"], ["y"])], model.opset_import
    )
    model.functions.append(redefined)
    with pytest.raises(NotConvertibleError, match="operators of its own"):
        graph_module(model, Layout(SIZES), "images", "answers")


def test_graph_that_is_not_converted_is_answered_by_onnx_runtime(tmp_path: Path) -> None:
    reason, body = REFUSED["unknown operator"]
    classifier = opened(graph(body, HEADS["flatten and gemm"]), tmp_path / "m")
    assert not isinstance(classifier, RuntimeJudged)
    assert "ONNX Runtime answers every image" in classifier.assumptions[-1]
    assert reason in classifier.assumptions[-1]
    assert onepixel.signature(classifier, values=2, pixels=4).engine == "exhaustive"


def test_module_that_disagrees_with_onnx_runtime_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(onnx_operators.RULES, "Relu", onnx_operators.pointwise(lambda full: full.relu() * 1.001))
    classifier = opened(lenet_graph(network()), tmp_path / "m", input_shape=None)
    assert not isinstance(classifier, RuntimeJudged)
    assert "other answers than ONNX Runtime" in classifier.assumptions[-1]


def test_module_that_disagrees_only_on_the_way_is_given_up_and_the_note_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(onnx_operators.RULES, "Relu", onnx_operators.pointwise(lambda full: full.relu() * 1.001))
    monkeypatch.setattr(onnx_file, "LOGIT_TOLERANCE", 1.0)
    classifier = opened(lenet_graph(network()), tmp_path / "m", input_shape=None)
    assert isinstance(classifier, RuntimeJudged)
    found = onepixel.signature(classifier, values=8, pixels=9)
    monkeypatch.undo()
    expected = onepixel.signature(opened(lenet_graph(network()), tmp_path / "m", input_shape=None), values=8, pixels=9)
    assert (found.engine, expected.engine) == ("exhaustive", "incremental")
    assert "stand" in found.note or "repeat" in found.note
    np.testing.assert_allclose(found.values("max"), expected.values("max"), atol=1e-5)


def convolution_of(shape: tuple[int, ...], **attributes: Any) -> onnx.ModelProto:
    nodes = [
        ("Conv", "images w > maps", attributes),
        ("GlobalAveragePool", "maps > g", {}),
        ("Flatten", "g > answers", {}),
    ]
    return onnx_model([node(*row) for row in nodes], {"w": drawn(*shape)}, ["N", *SIZES])


def test_graphs_that_grow_without_end_are_given_up_before_anything_is_computed() -> None:
    layout = Layout(SIZES)
    chain = [node("Relu", f"{'images' if i == 0 else f'r{i}'} > r{i + 1}", {}) for i in range(MOST_OPERATIONS + 1)]
    chain.append(node("Flatten", f"r{MOST_OPERATIONS + 1} > answers", {}))
    outer = [node("Mul", "column row > m", {}), node("Mul", "m images > n", {}), node("Flatten", "n > answers", {})]
    sides = {"column": np.ones((1, 1, 1 << 17, 1), np.float32), "row": np.ones((1, 1, 1, 1 << 17), np.float32)}
    for model, reason in (
        (convolution_of((64, 2, 3, 3), pads=[4096] * 4), "numbers"),
        (onnx_model(chain, {}, ["N", *SIZES]), "operations"),
        (onnx_model(outer, sides, ["N", *SIZES]), "numbers"),
    ):
        with pytest.raises(NotConvertibleError, match=reason):
            graph_module(model, layout, "images", "answers")


EDGES = st.sampled_from([-(2**63), -(2**31), -7, -2, -1, 0, 1, 2, 3, 5, 8, 4096, 4097, 2**31, 2**62])


def spoilt(model: onnx.ModelProto, draw: Any) -> onnx.ModelProto:
    """One attribute, input, operator, weight or shape changed."""
    chosen = draw(st.sampled_from(list(model.graph.node)))
    match draw(st.integers(0, 5)):
        case 0 if chosen.attribute:
            attribute = draw(st.sampled_from(list(chosen.attribute)))
            name = attribute.name
            attribute.CopyFrom(helper.make_attribute(name, draw(st.lists(EDGES, min_size=1, max_size=5) | EDGES)))
        case 1 if chosen.input:
            names = [name for other in model.graph.node for name in (*other.input, *other.output)]
            chosen.input[draw(st.integers(0, len(chosen.input) - 1))] = draw(st.sampled_from(["", *names]))
        case 2:
            chosen.op_type = draw(st.sampled_from(sorted(onnx_operators.RULES)))
        case 3 if model.graph.initializer:
            weight = draw(st.sampled_from(list(model.graph.initializer)))
            del weight.dims[:]
            weight.dims.extend(draw(st.lists(EDGES, max_size=5)))
        case 4 if model.graph.initializer:
            weight = draw(st.sampled_from(list(model.graph.initializer)))
            weight.data_type = draw(st.integers(-1, 30))
        case _:
            del chosen.input[draw(st.integers(0, len(chosen.input))) :]
    return model


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_spoilt_graphs_become_modules_or_are_not_convertible_and_nothing_else(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(BODIES)))
    row = BODIES[name]
    opset, body = row if isinstance(row, tuple) else (17, row)
    model = graph(body, data.draw(st.sampled_from(list(HEADS.values()))), opset)
    for _ in range(data.draw(st.integers(1, 3))):
        spoilt(model, data.draw)
    try:
        module = graph_module(model, Layout(SIZES), "images", "answers")
    except NotConvertibleError:
        return
    assert isinstance(module, nn.Module)


def tensorflow_graph() -> onnx.ModelProto:
    """What tf2onnx writes for a small Keras network: channels last outside, transposed around convolutions."""
    rows: Nodes = [
        ("Transpose", "images > seen", {"perm": [0, 3, 1, 2]}),
        ("Conv", "seen w bias > c", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ("Relu", "c > r", {}),
        ("MaxPool", "r > p", {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        ("Transpose", "p > t", {"perm": [0, 2, 3, 1]}),
        ("Reshape", "t rows > f", {}),
        ("MatMul", "f head > m", {}),
        ("Add", "m head_bias > answers", {}),
    ]
    weights = {name: WEIGHTS[name] for name in ("w", "bias", "rows")}
    weights |= {"head": drawn(3 * 2 * 4, 3), "head_bias": drawn(3)}
    return onnx_model([node(*row) for row in rows], weights, ["N", 9, 8, 2])


def test_channels_last_graphs_become_modules_with_normalisation(tmp_path: Path) -> None:
    classifier = opened(tensorflow_graph(), tmp_path / "m", normalize=((0.2, 0.3), (0.5, 0.7)))
    assert isinstance(classifier, RuntimeJudged), classifier.assumptions
    assert_engines_agree(classifier, values=5, default_image=0.4)


def torchvision_network(name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from torchvision import models

        return getattr(models, name)(weights=None, num_classes=10)

    return build


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int]]] = {
    **{name: (lambda name=name: architecture(name).build(10), (1, 28, 28)) for name in ("resnet8", "alexnet", "vgg10")},
    "lenet5": (network, (1, 28, 28)),
    "resnet18": (torchvision_network("resnet18"), (3, 32, 32)),
    "mobilenet_v2": (torchvision_network("mobilenet_v2"), (3, 32, 32)),
}


def export(module: nn.Module, images: Tensor, path: Path, *, dynamo: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            batch = torch.export.Dim("batch", min=1, max=1 << 20)
            torch.onnx.export(
                module, (images,), path, dynamo=True, external_data=False, verbose=False, dynamic_shapes=({0: batch},)
            )
        else:
            torch.onnx.export(module, (images,), path, dynamo=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dynamo"),
    [(name, False) for name in NETWORKS] + [(name, True) for name in ("lenet5", "resnet8", "mobilenet_v2")],
)
def test_what_torch_exports_becomes_a_module(name: str, dynamo: bool, tmp_path: Path) -> None:
    build, shape = NETWORKS[name]
    torch.manual_seed(0)
    module = build().eval()
    export(module, torch.rand(2, *shape), tmp_path / "m", dynamo=dynamo)
    classifier: Any = onepixel.load_classifier(tmp_path / "m", outputs="logits", normalize="none")
    assert isinstance(classifier, RuntimeJudged), classifier.assumptions
    found = onepixel.signature(classifier, engine="incremental", values=2, pixels=16)
    assert found.engine == "incremental"


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_size_of_what_a_sliding_window_finds_is_that_of_torch(data):
    kernel, stride = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    dilation, margin = data.draw(st.integers(1, 2)), data.draw(st.integers(0, kernel // 2))
    extent = dilation * (kernel - 1) + 1
    length, ceil = data.draw(st.integers(max(1, extent - 2 * margin), 12)), data.draw(st.booleans())
    pool = torch.nn.MaxPool2d(kernel, stride, margin, dilation, ceil_mode=ceil)
    maps, pads = Maps(0, (1, length, length), (1, length, length)), (margin,) * 4
    found = onnx_operators.slid(maps, pads, [extent, extent], [stride, stride], ceil=ceil)
    assert found == tuple(pool(torch.zeros(1, 1, length, length)).shape[2:])
