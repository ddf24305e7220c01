"""Keras files (`.h5` and `.keras`) as data: the configuration says the layers, HDF5 holds the numbers, torch computes.

Keras itself is not used: loading a model with it may run code (Lambda layers, classes of the sender's). Only a chain of
plain layers is rebuilt, each by its row in `onepixel.opening.keras_layers`. HDF5 files can point at other files; such
links and virtual or external datasets are refused. The HDF5 library is a large C program, so the sandbox is required.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from onepixel.classifiers import ModuleClassifier
from onepixel.errors import ModelFileError, UsageError
from onepixel.opening.answers import settle_outputs
from onepixel.opening.keras_layers import LAYERS, Arrays, KerasFileError, Layer
from onepixel.opening.limits import Limits, address_space_capped, refusing
from onepixel.opening.preparation import range_for
from onepixel.opening.recognise import Format
from onepixel.opening.refusals import KERAS
from onepixel.opening.request import Request
from onepixel.opening.state_dict import last_module
from onepixel.printable import one_line

MOST_LAYERS = 10_000
LARGEST_CONFIG = 2**24


def open_keras(request: Request, limits: Limits) -> ModuleClassifier:
    """Open a Keras file as a classifier.

    Raises
    ------
    UsageError
        If h5py is not installed, or the user did not say what the file leaves open.
    ModelFileError
        If it is damaged, points outside itself, or has layers that are not known here.
    UndecidedError
        If its answers cannot be used.
    """
    try:
        import h5py
    except ImportError as error:
        raise UsageError('Keras files need h5py: pip install "onepixel[keras]".') from error
    try:
        with address_space_capped(limits.memory_bytes), refusing(request.name, "reading it as a Keras model"):
            config, weights = read_keras(request, h5py)
            layers = chain(config)
            module, input_shape = rebuilt(layers, weights)
    except KerasFileError as error:
        raise ModelFileError(f"{request.name} {error}. {KERAS}") from error
    if request.input_shape not in (None, input_shape):
        raise UsageError(f"{request.name} takes images of shape {input_shape}, not {request.input_shape}.")
    values = range_for(request, None, input_shape[0])
    outputs, kind = settle_outputs(request.outputs, last_module(module), request.name)
    normalize = None if values.identity else (values.mean, values.std)
    classifier = ModuleClassifier(module.eval(), input_shape, outputs, normalize, request.name)
    classifier.range_unsure = values.unsure
    classifier.assumptions = (
        f"The network was rebuilt from the file's configuration, {len(layers)} plain layers one after the other; Keras "
        "was not used, and nothing in the file was run.",
        f"Images are {input_shape} (channels, height, width).",
        values.sentence,
        kind,
    )
    return classifier


Weights = dict[str, Arrays]
"""The arrays of each layer, by its name or by its class and number."""
NAMED = "layer "
"""Before the name of a layer, which could otherwise be taken for a class with a number."""


def read_keras(request: Request, h5py: Any) -> tuple[dict[str, Any], Weights]:
    """The configuration and the arrays of a file."""
    if request.format is Format.KERAS:
        with request.open() as file, zipfile.ZipFile(file) as archive:
            if archive.getinfo("config.json").file_size > LARGEST_CONFIG:
                raise KerasFileError("holds a configuration that is too large")
            config = json.loads(archive.read("config.json"))
            contents = archive.read("model.weights.h5")
        with h5py.File(io.BytesIO(contents), "r") as held:
            return config, numbered_arrays(held, h5py)
    with request.open() as file, h5py.File(file, "r") as held:
        text = held.attrs.get("model_config")
        if text is None:
            raise KerasFileError("is an HDF5 file without a Keras model's configuration (weights only)")
        root = child(held, "model_weights", h5py)
        return json.loads(text), named_arrays(root, h5py)


def child(group: Any, name: str, h5py: Any) -> Any:
    """What a group holds under a name, if it lies in this very file.

    Raises
    ------
    KerasFileError
        If it is a link elsewhere, or a dataset whose numbers lie elsewhere.
    """
    link = group.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise KerasFileError(f"keeps {one_line(name, 60)} behind a link, not in itself; that is refused")
    found = group[name]
    if isinstance(found, h5py.Dataset) and (found.is_virtual or found.external):
        raise KerasFileError(f"keeps the numbers of {one_line(name, 60)} outside itself; that is refused")
    return found


def array_of(group: Any, name: str, h5py: Any) -> NDArray[np.float32]:
    """A dataset of numbers."""
    found = child(group, name, h5py)
    if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "fiu":
        raise KerasFileError(f"holds {one_line(name, 60)}, which is no array of numbers")
    return np.asarray(found[()], dtype=np.float32)


def named_arrays(root: Any, h5py: Any) -> Weights:
    """The arrays of an `.h5` file: a group per layer, whose attribute lists its arrays in their order."""
    found: Weights = {}
    for layer in root:
        group = child(root, layer, h5py)
        names = [
            name.decode() if isinstance(name, bytes) else str(name) for name in group.attrs.get("weight_names", ())
        ]
        arrays = []
        for name in names:
            *above, last = name.split("/")
            place = group
            for part in above:
                place = child(place, part, h5py)
            arrays.append(array_of(place, last, h5py))
        found[f"{NAMED}{layer}"] = arrays
    return found


def numbered_arrays(root: Any, h5py: Any) -> Weights:
    """The arrays of a `.keras` file: `layers/NAME/vars/0`, `1` and so on."""
    found: Weights = {}
    layers = child(root, "layers", h5py) if "layers" in root else {}
    for layer in layers:
        group = child(layers, layer, h5py)
        if "vars" in group:
            held = child(group, "vars", h5py)
            # Groups are numbered by class; newer files say which layer each belongs to.
            key = f"{NAMED}{held.attrs['name']}" if "name" in held.attrs else str(layer)
            found[key] = [array_of(held, str(number), h5py) for number in range(len(held))]
    return found


def chain(config: Any) -> list[Layer]:
    """The layers of a configuration, if they come one after the other.

    Raises
    ------
    KerasFileError
        If they do not, or the model is of another kind.
    """
    kind, inside = config.get("class_name"), config.get("config")
    if kind not in ("Sequential", "Functional", "Model") or not isinstance(inside, dict):
        raise KerasFileError(f"is a Keras model of the class {one_line(kind, 60)}, whose code is not in the file")
    listed = inside.get("layers", [])
    if not isinstance(listed, list) or len(listed) > MOST_LAYERS:
        raise KerasFileError("has a configuration that is not known")
    if kind != "Sequential":
        before = None
        for layer in listed:
            sources = list(sources_of(layer.get("inbound_nodes", [])))
            if sources != ([before] if before is not None else []):
                raise KerasFileError("is a Keras model whose layers do not simply come one after the other")
            before = layer.get("name") or layer["config"]["name"]
    return [Layer(str(each["class_name"]), str(each["config"].get("name", "")), each["config"]) for each in listed]


def sources_of(nodes: Any) -> Iterator[str]:
    """The layers that a layer's inputs come from, in either of the two ways in which Keras writes them."""
    if isinstance(nodes, dict):
        history = (
            nodes.get("config", {}).get("keras_history") if nodes.get("class_name") == "__keras_tensor__" else None
        )
        if isinstance(history, list) and history:
            yield str(history[0])
            return
        nodes = [nodes.get("args", [])]
    if isinstance(nodes, list):
        if len(nodes) >= 3 and isinstance(nodes[0], str) and isinstance(nodes[1], int):
            yield nodes[0]
            return
        for node in nodes:
            yield from sources_of(node)


def rebuilt(layers: list[Layer], weights: Weights) -> tuple[nn.Sequential, tuple[int, int, int]]:
    """The network in torch with its weights, and the (C, H, W) of its images.

    Raises
    ------
    KerasFileError
        If a layer, or one of its settings, is not known here.
    """
    shape = next((layer.input_shape for layer in layers if layer.input_shape is not None), None)
    if shape is None:
        raise KerasFileError("does not say which images it takes")
    module, counts = nn.Sequential(), dict[str, int]()
    for number, layer in enumerate(layers):
        build = LAYERS.get(layer.kind)
        if build is None:
            raise KerasFileError(f"has a layer of the class {one_line(layer.kind, 60)}, which is not rebuilt here")
        plain = re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", layer.kind)).lower()
        count = counts[plain] = counts.get(plain, -1) + 1
        numbered = f"{plain}_{count}" if count else plain
        arrays = weights.get(f"{NAMED}{layer.name}", weights.get(numbered, []))
        for part, made in enumerate(build(layer, arrays)):
            module.add_module(f"{number}_{part}", made)
    return module, shape
