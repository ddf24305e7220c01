"""Weights without a program: safetensors files and PyTorch state dicts, put into an architecture the user names."""

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from onepixel.architectures import ARCHITECTURES, Architecture, architecture
from onepixel.classifiers import ModuleClassifier
from onepixel.classifiers.base import Outputs
from onepixel.errors import ModelFileError, UsageError
from onepixel.opening.answers import settle_outputs
from onepixel.opening.limits import Limits, address_space_capped, refusing
from onepixel.opening.preparation import value_range
from onepixel.opening.recognise import Format
from onepixel.opening.refusals import ASK, refuse_pickled_program
from onepixel.opening.request import Request
from onepixel.printable import one_line

WRAPPING_KEYS = ("state_dict", "model_state_dict", "model")
PARALLEL_PREFIX = "module."
MOST_CLASSES = 100_000


def open_weights(request: Request, limits: Limits) -> ModuleClassifier:
    """Open a safetensors file or a state dict as a classifier.

    Raises
    ------
    UsageError
        If no architecture is named, or the user did not say what the weights leave open.
    ModelFileError
        If the file is damaged, holds more than weights, or does not fit the architecture.
    UndecidedError
        If the network's answers cannot be used.
    """
    if request.architecture is None:
        raise UsageError(
            f"{request.name} holds weights only; say which network they belong to with --architecture "
            f"({', '.join(ARCHITECTURES)}, or module:function of your own)."
        )
    weights, notes = read_weights(request, limits)
    module, input_shape, outputs = build_architecture(request, weights)
    load_into(module, weights, request.name, request.architecture)
    values = value_range(request.normalize, None, input_shape[0], request.name)
    answers, kind = settle_outputs(request.outputs or outputs, last_module(module), request.name)
    if request.outputs is None and outputs is not None:
        kind = f"Answers are {outputs}, as the architecture {request.architecture} gives them."
    normalize = None if values.identity else (values.mean, values.std)
    classifier = ModuleClassifier(module.eval(), input_shape, answers, normalize, request.name)
    classifier.assumptions = (
        f"The weights were put into the architecture {request.architecture}, as you said.",
        f"Images are {input_shape} (channels, height, width).",
        values.sentence,
        kind,
        *notes,
    )
    return classifier


def read_weights(request: Request, limits: Limits) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors of a file by name, and what was unwrapped to get at them."""
    with address_space_capped(limits.memory_bytes), refusing(request.name, "reading its weights"):
        if request.format is Format.SAFETENSORS:
            from safetensors.torch import load_file

            return load_file(request.path), ()
        refuse_pickled_program(request.name, unsafe_names(request))
        found = torch.load(request.path, map_location="cpu", weights_only=True)
    return unwrapped(found, request.name)


def unsafe_names(request: Request) -> list[str]:
    """What the pickle inside the archive names besides tensors and plain containers; nothing is unpickled.

    Raises
    ------
    ModelFileError
        If the pickle is none that torch.save writes for weights.
    """
    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(request.path)
    except Exception as error:
        raise ModelFileError(
            f"{request.name} holds a pickle that is not of the kind torch.save writes for weights "
            f"({one_line(error) or type(error).__name__}). {ASK}"
        ) from error
    return [one_line(name, 60) for name in named]


def unwrapped(found: object, name: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The state dict inside a checkpoint, and a sentence for each layer that was taken off.

    Raises
    ------
    ModelFileError
        If there is none.
    """
    notes: list[str] = []
    if isinstance(found, Mapping) and not all_tensors(found):
        inside = [key for key in WRAPPING_KEYS if isinstance(found.get(key), Mapping)]
        if len(inside) == 1:
            found = found[inside[0]]
            notes.append(f"The weights are the entry {inside[0]!r} of the file; its other entries were ignored.")
    if not isinstance(found, Mapping) or not found or not all_tensors(found):
        raise ModelFileError(f"{name} holds no state dict (a mapping from names to tensors).")
    weights = {str(key): tensor for key, tensor in found.items()}
    if all(key.startswith(PARALLEL_PREFIX) for key in weights):
        weights = {key.removeprefix(PARALLEL_PREFIX): tensor for key, tensor in weights.items()}
        notes.append(
            f"Every name in the file begins with {PARALLEL_PREFIX!r} (torch's DataParallel); that was dropped."
        )
    return weights, tuple(notes)


def all_tensors(found: Mapping[object, object]) -> bool:
    """Whether a mapping is a plain state dict."""
    return all(isinstance(key, str) and isinstance(value, Tensor) for key, value in found.items())


def build_architecture(
    request: Request, weights: Mapping[str, Tensor]
) -> tuple[nn.Module, tuple[int, int, int], Outputs | None]:
    """The freshly initialised network, its (C, H, W), and what it answers where the architecture says so.

    Raises
    ------
    UsageError
        If there is no such architecture, it fails, or it does not say the input shape and the user did not.
    """
    wanted = request.architecture or ""
    if ":" not in wanted:
        known = architecture(wanted)
        classes = classes_of(known, weights, request.name)
        return known.build(classes), request.input_shape or known.input_shape, "logits"
    module = build_named(wanted)
    if request.input_shape is None:
        raise UsageError(f"{wanted} does not say which images it takes; say --input-shape (input_shape=(C, H, W)).")
    return module, request.input_shape, None


def classes_of(known: Architecture, weights: Mapping[str, Tensor], name: str) -> int:
    """K, from the length of the weights of the architecture's last layer.

    Raises
    ------
    ModelFileError
        If the file has no such layer, or it has fewer than two classes or too many.
    """
    with torch.device("meta"):
        last = list(known.build(2).state_dict())[-1]
    if last not in weights or weights[last].ndim == 0:
        raise ModelFileError(f"{name} does not fit {known.name}: it lacks {last}.")
    classes = len(weights[last])
    if not 2 <= classes <= MOST_CLASSES:
        raise ModelFileError(f"{name} ends with a layer of {classes} classes; onepixel takes 2 to {MOST_CLASSES}.")
    return classes


def build_named(wanted: str) -> nn.Module:
    """Call `module:function`, which the user named; the current folder is searched last.

    Raises
    ------
    UsageError
        If it cannot be imported or called without arguments, or returns no module.
    """
    module_name, _, function_name = wanted.partition(":")
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        function: Callable[[], object] = getattr(importlib.import_module(module_name), function_name)
        built = function()
    except Exception as error:
        raise UsageError(f"Cannot build {wanted}: {one_line(error) or type(error).__name__}.") from error
    finally:
        sys.path.remove(here)
    if not isinstance(built, nn.Module):
        raise UsageError(f"{wanted} returned a {type(built).__name__}, not a torch.nn.Module.")
    return built


def load_into(module: nn.Module, weights: Mapping[str, Tensor], name: str, wanted: str) -> None:
    """Put weights into a network, all of them and nothing else.

    Raises
    ------
    ModelFileError
        If names or shapes differ.
    """
    expected = module.state_dict()
    missing, extra = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    if missing or extra:
        which = f"it lacks {one_line(missing[0])}" if missing else f"it has {one_line(extra[0])} besides"
        raise ModelFileError(f"{name} does not fit {wanted}: {which} ({len(missing)} missing, {len(extra)} unknown).")
    for key, tensor in weights.items():
        if tensor.shape != expected[key].shape:
            shapes = f"{tuple(tensor.shape)}, not {tuple(expected[key].shape)}"
            raise ModelFileError(f"{name} does not fit {wanted}: {one_line(key)} has the shape {shapes}.")
    with refusing(name, f"putting its weights into {wanted}"):
        module.load_state_dict(dict(weights))


def last_module(module: nn.Module) -> str:
    """The class name of the last layer, if it is a final softmax or sigmoid; else ""."""
    leaves = [part for part in module.modules() if not any(True for _ in part.children())]
    last = type(leaves[-1]).__name__ if leaves else ""
    return last if last in ("Softmax", "LogSoftmax", "Sigmoid") else ""
