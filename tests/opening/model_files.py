"""Model files for the tests of opening: one small network in every format, and what a hostile sender could send."""

import io
import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import Tensor, nn

from onepixel.architectures.lenet5 import LeNet5

SHAPE = (1, 28, 28)


def network() -> LeNet5:
    """A LeNet-5 with fixed random weights, large enough that its answers depend on the image."""
    torch.manual_seed(0)
    module = LeNet5().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.7)
    return module


def write_state_dict(module: nn.Module, path: Path) -> Path:
    torch.save(module.state_dict(), path)
    return path


def write_safetensors(module: nn.Module, path: Path) -> Path:
    save_file(module.state_dict(), path)
    return path


def write_torchscript(module: nn.Module, path: Path, *, traced: bool = False) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.jit.trace(module, torch.zeros(1, *SHAPE)) if traced else torch.jit.script(module)
        program.save(str(path))
    return path


def write_exported(module: nn.Module, path: Path) -> Path:
    batch = torch.export.Dim("batch", min=1, max=1 << 20)
    exported = torch.export.export(module, (torch.zeros(2, *SHAPE),), dynamic_shapes=({0: batch},))
    torch.export.save(exported, path)
    return path


def lenet_graph(module: LeNet5, *, softmax: bool = False, channels_last: bool = False) -> onnx.ModelProto:
    """The ONNX graph of a LeNet-5, written by hand: exporters take seconds."""
    weights = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    make = helper.make_node
    nodes = [
        make("Conv", ["seen", "features.0.weight", "features.0.bias"], ["a"], pads=[2, 2, 2, 2]),
        make("Relu", ["a"], ["b"]),
        make("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        make("Conv", ["c", "features.3.weight", "features.3.bias"], ["d"]),
        make("Relu", ["d"], ["e"]),
        make("MaxPool", ["e"], ["f"], kernel_shape=[2, 2], strides=[2, 2]),
        make("Flatten", ["f"], ["g"]),
        make("Gemm", ["g", "classifier.1.weight", "classifier.1.bias"], ["h"], transB=1),
        make("Relu", ["h"], ["i"]),
        make("Gemm", ["i", "classifier.3.weight", "classifier.3.bias"], ["j"], transB=1),
        make("Relu", ["j"], ["k"]),
        make("Gemm", ["k", "classifier.5.weight", "classifier.5.bias"], ["logits"], transB=1),
    ]
    first = make("Transpose", ["images"], ["seen"], perm=[0, 3, 1, 2]) if channels_last else None
    nodes.insert(0, first or make("Identity", ["images"], ["seen"]))
    nodes.append(
        make("Softmax", ["logits"], ["answers"], axis=1) if softmax else make("Identity", ["logits"], ["answers"])
    )
    sizes = ["N", 28, 28, 1] if channels_last else ["N", 1, 28, 28]
    return onnx_model(nodes, weights, sizes)


def onnx_model(
    nodes: list[Any],
    weights: dict[str, np.ndarray] | None = None,
    sizes: list[Any] | None = None,
    element: int = TensorProto.FLOAT,
    answers: list[Any] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """A model from images to answers."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("images", element, sizes or ["N", 1, 28, 28])],
        [helper.make_tensor_value_info("answers", TensorProto.FLOAT, answers or ["N", "K"])],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def write_onnx(module: LeNet5, path: Path, **options: bool) -> Path:
    onnx.save(lenet_graph(module, **options), path)
    return path


WRITERS: dict[str, Callable[[LeNet5, Path], Path]] = {
    "onnx": write_onnx,
    "safetensors": write_safetensors,
    "state_dict": write_state_dict,
    "torchscript": write_torchscript,
    "exported": write_exported,
}


def options_for(form: str) -> dict[str, Any]:
    """What a user has to say about the file, as keyword arguments of load_classifier."""
    common: dict[str, Any] = {"normalize": "none"}
    if form in ("safetensors", "state_dict"):
        return {**common, "architecture": "lenet5"}
    if form == "torchscript":
        return {**common, "outputs": "logits", "input_shape": SHAPE}
    return {**common, "outputs": "logits"}


class Code:
    """Unpickling this runs a piece of Python."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, (self.code,))


class Payload(Code):
    """Unpickling this makes a file: the test's stand-in for whatever an attacker would do."""

    def __init__(self, marker: Path) -> None:
        super().__init__(f"open({str(marker)!r}, 'w').close()")


def payload_by_code(code: str) -> bytes:
    """A pickle that runs a piece of Python."""
    return pickle.dumps(Code(code))


def payload_by_reduce(marker: Path) -> bytes:
    """The ordinary way: a callable and its arguments."""
    return pickle.dumps(Payload(marker))


def payload_by_opcodes(marker: Path) -> bytes:
    """Protocol 0, as text: push os.system and call it."""
    return f"cposix\nsystem\n(S'touch {marker}'\ntR.".encode()


def payload_by_stack_global(marker: Path) -> bytes:
    """Protocol 4, with the name of the callable put together on the stack."""
    command = f"touch {marker}".encode()
    return b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c" + bytes([len(command)]) + command + b"\x85R."


def payload_by_build(marker: Path) -> bytes:
    """Hidden behind a harmless object: the payload is part of a dictionary beside real weights."""
    return pickle.dumps({"weight": [1.0, 2.0], "extra": Payload(marker)}, protocol=2)


PAYLOADS: dict[str, Callable[[Path], bytes]] = {
    "reduce": payload_by_reduce,
    "opcodes": payload_by_opcodes,
    "stack_global": payload_by_stack_global,
    "build": payload_by_build,
}


def with_entry(source: Path, target: Path, ending: str, contents: bytes) -> Path:
    """A copy of a zip archive in which the entry whose name ends so has other contents."""
    replaced = 0
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for entry in old.infolist():
            matches = entry.filename.endswith(ending)
            replaced += matches
            new.writestr(entry.filename, contents if matches else old.read(entry))
    assert replaced == 1, f"{replaced} entries end with {ending}"
    return target


def with_wild_tree_nodes(source: Path, target: Path) -> Path:
    """A copy of a skops file of trees whose inner nodes have their children far outside the table of nodes."""
    spoilt = 0
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            contents = old.read(name)
            if name.endswith(".npy"):
                array = np.load(io.BytesIO(contents))
                if array.dtype.names and "left_child" in array.dtype.names:
                    array["left_child"] = array["right_child"] = 1 << 40
                    made = io.BytesIO()
                    np.save(made, array)
                    contents, spoilt = made.getvalue(), spoilt + 1
            new.writestr(name, contents)
    assert spoilt, "there is no tree in it"
    return target


def poisoned_state_dict(path: Path, payload: bytes) -> Path:
    """An archive as torch.save makes it, whose pickle is a payload."""
    good = write_state_dict(nn.Linear(2, 2), path.with_suffix(".good"))
    with_entry(good, path, "data.pkl", payload)
    good.unlink()
    return path


class Forever(nn.Module):
    """Never returns, though it looks at the image first."""

    def forward(self, images: Tensor) -> Tensor:
        count = images.sum() * 0
        while bool(count >= 0):
            count = count + 1
        return count.expand(images.shape[0], 10)


class Greedy(nn.Module):
    """Allocates without end."""

    def forward(self, images: Tensor) -> Tensor:
        kept = [images]
        while len(kept) > 0:
            kept.append(torch.full((1 << 25,), float(len(kept))))
        return kept[0].flatten(1)


class Silent(nn.Module):
    """Answers NaN."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :10] * float("nan")


class Burglar(nn.Module):
    """Makes a file, and puts what it can read of another into its answers."""

    def __init__(self, made: str, read: str) -> None:
        super().__init__()
        self.made = made
        self.read = read

    def forward(self, images: Tensor) -> Tensor:
        torch.from_file(self.made, shared=True, size=16, dtype=torch.uint8)
        stolen = torch.from_file(self.read, shared=False, size=8, dtype=torch.uint8)
        return images.flatten(1)[:, :8] + stolen


def write_looping_onnx(path: Path) -> Path:
    """A Loop without bound."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["still"]), helper.make_node("Identity", ["value"], ["next"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, ["N", 784]),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, ["N", 784]),
        ],
    )
    model = onnx_model(
        [
            helper.make_node("Flatten", ["images"], ["flat"]),
            helper.make_node("Loop", ["", "yes", "flat"], ["answers"], body=body),
        ],
        {"yes": np.asarray(True)},
    )
    onnx.save(model, path)
    return path


def write_greedy_onnx(path: Path) -> Path:
    """A tensor of 4 TiB."""
    nodes = [
        helper.make_node("ConstantOfShape", ["sizes"], ["huge"]),
        helper.make_node("ReduceSum", ["huge"], ["sum"], keepdims=0),
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node("Add", ["flat", "sum"], ["answers"]),
    ]
    onnx.save(onnx_model(nodes, {"sizes": np.asarray([1 << 20, 1 << 20])}), path)
    return path


def write_nan_onnx(path: Path) -> Path:
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node("Mul", ["flat", "nan"], ["answers"]),
    ]
    onnx.save(onnx_model(nodes, {"nan": np.asarray(np.nan, dtype=np.float32)}), path)
    return path


def write_multiplying_onnx(path: Path) -> Path:
    """Functions of functions, each calling the next ten times: 10^12 operations from a few lines."""
    functions = []
    for level in range(12):
        inner = helper.make_node(
            f"f{level + 1}" if level < 11 else "Relu", ["x"], ["y"], domain="d" if level < 11 else ""
        )
        nodes, previous = [], "x0"
        for turn in range(10):
            node = onnx.NodeProto()
            node.CopyFrom(inner)
            node.input[0], node.output[0] = previous, f"x{turn + 1}"
            previous = node.output[0]
            nodes.append(node)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("d", 1)]
        functions.append(helper.make_function("d", f"f{level}", ["x0"], [previous], nodes, opsets))
    model = onnx_model([helper.make_node("f0", ["images"], ["answers"], domain="d")])
    model.functions.extend(functions)
    model.opset_import.append(helper.make_opsetid("d", 1))
    onnx.save(model, path)
    return path


def write_onnx_with_outside_weights(path: Path, location: str, offset: int = 0, length: int = 40) -> Path:
    """A model that keeps the weights of its last layer in the file `location`."""
    weight = TensorProto(name="shift", data_type=TensorProto.FLOAT, dims=[10], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        weight.external_data.add(key=key, value=value)
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node("Slice", ["flat", "start", "end", "axis"], ["ten"]),
        helper.make_node("Add", ["ten", "shift"], ["answers"]),
    ]
    bounds = {"start": np.asarray([100]), "end": np.asarray([110]), "axis": np.asarray([1])}
    model = onnx_model(nodes, bounds)
    model.graph.initializer.append(weight)
    path.write_bytes(model.SerializeToString())
    return path


def write_zip_bomb(path: Path, names: tuple[str, ...]) -> Path:
    """An archive that looks like a model and unpacks to far more than it weighs."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, b"\x00" * (1 << 24))
    return path


def exported_with_payload(source: Path, target: Path, marker: Path) -> Path:
    """An exported program whose weights are a pickle that makes a file."""
    return exported_with_pickle(source, target, payload_by_reduce(marker))


def exported_with_pickle(source: Path, target: Path, payload: bytes) -> Path:
    """An exported program one of whose weights is a pickle, and which says so."""
    with zipfile.ZipFile(source) as old:
        config_name = next(name for name in old.namelist() if name.endswith("model_weights_config.json"))
        config = json.loads(old.read(config_name))
    first = sorted(config["config"])[0]
    config["config"][first]["use_pickle"] = True
    stored = config["config"][first]["path_name"]
    between = with_entry(
        source, target.with_suffix(".between"), "model_weights_config.json", json.dumps(config).encode()
    )
    with_entry(between, target, f"/{stored}", payload)
    between.unlink()
    return target


def exported_with_code(source: Path, target: Path, marker: Path) -> Path:
    """An exported program in which a symbolic size is a piece of Python."""
    with zipfile.ZipFile(source) as old:
        model = old.read(next(name for name in old.namelist() if name.endswith("models/model.json"))).decode()
    code = json.dumps(f"__import__('os').system('touch {marker}')")
    changed = re.sub(r'"expr_str": "[^"]*"', lambda _: f'"expr_str": {code}', model)
    assert changed != model
    return with_entry(source, target, "models/model.json", changed.encode())
