"""Keras files as data: the signature of the same network in torch, and nothing that a file could run or reach."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import onepixel
from onepixel.errors import ModelFileError, UsageError
from onepixel.opening import Format, Limits
from onepixel.opening.recognise import recognise
from onepixel.signatures import Signature
from opening.model_files import SHAPE, network
from opening.test_checkpoints import FEW, opened, same

h5py = pytest.importorskip("h5py")

Layers = list[tuple[str, str, dict[str, Any], list[np.ndarray]]]
"""Class, name, settings and arrays of each layer."""


@pytest.fixture(scope="module")
def expected() -> Signature:
    return onepixel.signature(onepixel.as_classifier(network(), input_shape=SHAPE), **FEW)


def lenet(softmax: bool = False) -> Layers:
    """The LeNet-5 of the other tests as Keras describes it: channels last, rows times columns."""
    weights = {name: tensor.numpy() for name, tensor in network().state_dict().items()}

    def convolution(name: str) -> list[np.ndarray]:
        return [weights[f"{name}.weight"].transpose(2, 3, 1, 0), weights[f"{name}.bias"]]

    def dense(name: str, channels: int = 0) -> list[np.ndarray]:
        weight = weights[f"{name}.weight"]
        if channels:
            side = int((weight.shape[1] // channels) ** 0.5)
            weight = weight.reshape(-1, channels, side, side).transpose(0, 2, 3, 1).reshape(len(weight), -1)
        return [weight.T, weights[f"{name}.bias"]]

    pool = {"pool_size": [2, 2], "strides": [2, 2], "padding": "valid"}
    return [
        ("InputLayer", "input_1", {"batch_shape": [None, 28, 28, 1]}, []),
        ("Conv2D", "first", {"kernel_size": [5, 5], "padding": "same"}, convolution("features.0")),
        ("MaxPooling2D", "pool_a", pool, []),
        ("Activation", "relu_a", {"activation": "relu"}, []),
        ("Conv2D", "second", {"kernel_size": 5, "padding": "valid"}, convolution("features.3")),
        ("MaxPooling2D", "pool_b", {**pool, "strides": None}, []),
        ("ReLU", "relu_b", {}, []),
        ("Flatten", "flat", {}, []),
        ("Dense", "a", {"activation": "relu"}, dense("classifier.1", 16)),
        ("Dense", "b", {"activation": "relu"}, dense("classifier.3")),
        ("Dropout", "drop", {"rate": 0.5}, []),
        ("Dense", "c", {"activation": "softmax" if softmax else "linear"}, dense("classifier.5")),
    ]


def configuration(layers: Layers, functional: bool = False) -> dict[str, Any]:
    listed: list[dict[str, Any]] = [
        {"class_name": kind, "config": {"name": name, **settings}} for kind, name, settings, _ in layers
    ]
    if functional:
        for layer, before in zip(listed, [None, *listed], strict=False):
            layer["name"] = layer["config"]["name"]
            layer["inbound_nodes"] = [] if before is None else [[[before["config"]["name"], 0, 0, {}]]]
    return {"class_name": "Functional" if functional else "Sequential", "config": {"name": "net", "layers": listed}}


def write_h5(layers: Layers, path: Path, functional: bool = False) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(configuration(layers, functional))
        root = file.create_group("model_weights")
        for _, name, _, arrays in layers:
            group = root.create_group(name)
            names = [f"{name}/variable_{number}:0" for number in range(len(arrays))]
            group.attrs["weight_names"] = [each.encode() for each in names]
            for each, array in zip(names, arrays, strict=True):
                group.create_dataset(each, data=array)
    return path


def write_keras(layers: Layers, path: Path, named: bool = True) -> Path:
    counts: dict[str, int] = {}
    made = io.BytesIO()
    with h5py.File(made, "w") as file:
        for kind, name, _, arrays in layers:
            plain = {"MaxPooling2D": "max_pooling2d", "InputLayer": "input_layer", "ReLU": "re_lu"}.get(
                kind, kind.lower()
            )
            number = counts[plain] = counts.get(plain, -1) + 1
            group = file.create_group(f"layers/{plain}_{number}/vars" if number else f"layers/{plain}/vars")
            if named:
                group.attrs["name"] = name
            for place, array in enumerate(arrays):
                group.create_dataset(str(place), data=array)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.4.1"}))
        archive.writestr("config.json", json.dumps(configuration(layers)))
        archive.writestr("model.weights.h5", made.getvalue())
    return path


WRITERS: dict[str, Callable[[Layers, Path], Path]] = {
    "h5": write_h5,
    "h5, functional": lambda layers, path: write_h5(layers, path, functional=True),
    "keras": write_keras,
    "keras without names": lambda layers, path: write_keras(layers, path, named=False),
}


@pytest.mark.parametrize("way", WRITERS)
def test_keras_file_gives_the_signature_of_the_network_in_torch(way: str, tmp_path: Path, expected: Signature) -> None:
    path = WRITERS[way](lenet(), tmp_path / "m")
    assert recognise(path, Limits()) is (Format.HDF5 if way.startswith("h5") else Format.KERAS)
    classifier = opened(path, outputs="logits")
    assert same(classifier, expected, 1e-4)
    assert classifier.input_shape == SHAPE
    assert "Keras was not used" in classifier.assumptions[0]


def test_keras_softmax_gives_the_same_up_to_the_floor(tmp_path: Path, expected: Signature) -> None:
    classifier = opened(write_keras(lenet(softmax=True), tmp_path / "m"))
    assert classifier.outputs == "probabilities"
    assert same(classifier, expected.floored(), 1e-3)


def test_keras_file_is_opened_in_the_sandbox(tmp_path: Path, expected: Signature) -> None:
    path = write_h5(lenet(), tmp_path / "m.h5")
    classifier: Any = onepixel.load_classifier(path, outputs="logits", normalize="none")
    assert "sandbox" in classifier.assumptions[0]
    assert same(classifier, expected, 1e-4)
    classifier.close()


def test_settings_of_layers_are_those_of_tensorflow(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    kernel, centre = chance.normal(size=(3, 3, 2, 4)).astype("f4"), chance.normal(size=(4, 4)).astype("f4")
    head = chance.normal(size=(4, 3)).astype("f4")
    layers: Layers = [
        ("Rescaling", "r", {"scale": 2.0, "offset": -1.0, "batch_input_shape": [None, 6, 8, 2]}, []),
        ("Conv2D", "c", {"kernel_size": [3, 3], "strides": [2, 2], "padding": "same", "use_bias": False}, [kernel]),
        ("BatchNormalization", "n", {"axis": [3], "epsilon": 0.01}, [*centre[:3], np.abs(centre[3]) + 0.1]),
        ("LeakyReLU", "l", {"alpha": 0.2}, []),
        ("ZeroPadding2D", "z", {"padding": [[1, 0], [0, 2]]}, []),
        ("GlobalAveragePooling2D", "g", {}, []),
        ("Dense", "d", {"use_bias": False}, [head]),
    ]
    images = torch.rand(2, 2, 6, 8)
    weight = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
    # TensorFlow's "same" at stride 2 of an even size pads at the end only.
    seen = nn.functional.conv2d(nn.functional.pad(images * 2 - 1, (0, 1, 0, 1)), weight, stride=2)
    gamma, beta, mean, variance = (torch.from_numpy(row) for row in (*centre[:3], np.abs(centre[3]) + 0.1))
    seen = nn.functional.batch_norm(seen, mean, variance, gamma, beta, eps=0.01)
    seen = nn.functional.pad(nn.functional.leaky_relu(seen, 0.2), (0, 2, 1, 0)).mean((2, 3))
    answers = opened(write_h5(layers, tmp_path / "m"), outputs="logits")(images)
    torch.testing.assert_close(answers, seen @ torch.from_numpy(head))


def test_layers_that_run_code_or_are_not_known_are_refused(tmp_path: Path, marker: Path) -> None:
    code = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "closure": None}}
    hostile: list[tuple[str, dict[str, Any], str]] = [
        ("Lambda", {"function": code}, "class Lambda"),
        ("Lambda", {"function": f"lambda x: open({str(marker)!r}, 'w')", "function_type": "lambda"}, "class Lambda"),
        ("TFOpLambda", {"function": "io.write_file"}, "class TFOpLambda"),
        ("os>system", {"module": "os", "registered_name": "system"}, "class os>system"),
        ("Dense", {"activation": {"class_name": "function", "module": "os", "config": "system"}}, "activation"),
        ("Activation", {"activation": "os.system"}, "activation"),
        ("MaxPooling2D", {"pool_size": [1 << 40, 1]}, "pool_size is not known"),
        ("Conv2D", {"kernel_size": [1, 1], "data_format": "channels_first"}, "data_format channels_first"),
    ]
    for kind, settings, sentence in hostile:
        arrays = {"Dense": [np.ones((10, 10), "f4"), np.ones(10, "f4")], "Conv2D": [np.ones((1, 1, 1, 1), "f4")]}
        layers = [*lenet(), (kind, "hostile", settings, arrays.get(kind, []))]
        for write in (write_h5, write_keras):
            with pytest.raises(ModelFileError, match=rf"{sentence}.*export ONNX"):
                opened(write(layers, tmp_path / "m"), outputs="logits")
    for config, sentence in (
        ({"class_name": "MyModel", "module": "os", "config": {}}, "class MyModel, whose code is not in the file"),
        ({"class_name": "Sequential", "config": {"layers": []}}, "does not say which images"),
        ({"class_name": "Sequential", "config": {"layers": [7]}}, "reading it as a Keras model"),
    ):
        with h5py.File(tmp_path / "m", "w") as file:
            file.attrs["model_config"] = json.dumps(config)
            file.create_group("model_weights")
        with pytest.raises(ModelFileError, match=sentence):
            opened(tmp_path / "m")
    assert not marker.exists()


def test_branches_are_refused(tmp_path: Path) -> None:
    layers = lenet()
    path = write_h5(layers, tmp_path / "m", functional=True)
    config = configuration(layers, functional=True)
    config["config"]["layers"][3]["inbound_nodes"] = [[["first", 0, 0, {}], ["pool_a", 0, 0, {}]]]
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(ModelFileError, match="do not simply come one after the other"):
        opened(path)


def test_numbers_outside_the_file_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    with h5py.File(secret, "w") as file:
        file.create_dataset("x", data=np.ones((5, 5, 1, 6), "f4"))
    raw = tmp_path / "raw"
    raw.write_bytes(bytes(600))

    def external_link(group: Any, name: str) -> None:
        group[name] = h5py.ExternalLink(str(secret), "/x")

    def soft_link(group: Any, name: str) -> None:
        group[name] = h5py.SoftLink("/model_weights/second/second/variable_0:0")

    def virtual(group: Any, name: str) -> None:
        layout = h5py.VirtualLayout(shape=(5, 5, 1, 6), dtype="f4")
        layout[:] = h5py.VirtualSource(str(secret), "x", shape=(5, 5, 1, 6))
        group.create_virtual_dataset(name, layout)

    def external_storage(group: Any, name: str) -> None:
        group.create_dataset(name, shape=(5, 5, 1, 6), dtype="f4", external=[(str(raw), 0, 600)])

    ways: list[tuple[Callable[[Any, str], None], str]] = [
        (external_link, "behind a link"),
        (soft_link, "behind a link"),
        (virtual, "outside itself"),
        (external_storage, "outside itself"),
    ]
    for put, sentence in ways:
        path = write_h5(lenet(), tmp_path / "m")
        with h5py.File(path, "a") as file:
            group = file["model_weights/first/first"]
            del group["variable_0:0"]
            put(group, "variable_0:0")
        with pytest.raises(ModelFileError, match=sentence):
            opened(path, outputs="logits")
    path = write_h5(lenet(), tmp_path / "m")
    with h5py.File(path, "a") as file:
        del file["model_weights"]
        file["model_weights"] = h5py.ExternalLink(str(secret), "/")
    with pytest.raises(ModelFileError, match="keeps model_weights behind a link"):
        opened(path)


def test_numbers_that_do_not_fit_and_damaged_files_are_refused(tmp_path: Path) -> None:
    layers = lenet()
    layers[1] = (*layers[1][:3], [np.ones((5, 5, 1, 6), "f4"), np.ones(7, "f4")])
    with pytest.raises(ModelFileError, match=r"numbers are \(7,\), not \(6,\)"):
        opened(write_h5(layers, tmp_path / "m"))
    contents = write_h5(lenet(), tmp_path / "m").read_bytes()
    for share in (0.02, 0.5):
        (tmp_path / "cut").write_bytes(contents[: int(share * len(contents))])
        with pytest.raises(ModelFileError):
            opened(tmp_path / "cut")
    with h5py.File(tmp_path / "weights", "w") as file:
        file.create_dataset("x", data=np.ones(3))
    with pytest.raises(ModelFileError, match="weights only"):
        opened(tmp_path / "weights")
    with pytest.raises(UsageError, match=r"takes images of shape \(1, 28, 28\)"):
        opened(tmp_path / "m", input_shape=(3, 28, 28))
