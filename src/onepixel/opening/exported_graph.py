"""Programs of `torch.export` read as the data that most of them are: a list of ATen operators in JSON, and raw weights.

torch's own reader imports its compilers, which takes longer than an audit of a small network. Here no name in the file
leads to anything but an ATen operator or arithmetic on sizes; a program with anything else in it, or in another layout,
is left to torch's reader.
"""

import io
import json
import operator
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

SCHEMA = 8
"""The major version of the layout that is read here (`torch._export.serde.schema`)."""

TYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
STRIDED = 7
OPEN_SIZE = re.compile(r"\w+|Symbol\('\w+'(, \w+=(True|False))*\)")
"""A size that the user chooses, not one that is calculated."""

ARITHMETIC: dict[str, Callable[..., Any]] = {
    f"_operator.{function.__name__}": function
    for function in (operator.add, operator.sub, operator.mul, operator.floordiv)
}
"""What sizes of an open batch are put together with."""

PLAIN = ("as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string")
MOST_JSON = 2**28


class NotPlainError(Exception):
    """The program holds more than operators and weights, or lies in another layout; the text says what."""


@dataclass(frozen=True)
class Named:
    """A result of an earlier operator, a weight, or the images."""

    name: str


@dataclass(frozen=True)
class Operation:
    """One operator: what it is called with, and the names of what it gives."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    outputs: tuple[str | None, ...]
    several: bool


@dataclass(frozen=True)
class ExportedGraph:
    """An exported program as it was read.

    Attributes
    ----------
    module : torch.nn.Module
        From one batch of images to a tensor (out of its container, if there is one), or to a tuple of several.
    declared : tuple
        The shape of its images; None for an open size.
    kind : torch.dtype
        The type of its images.
    answers : tuple of str
        What its answers are called.
    fractions : tuple of bool
        Whether each answer is of a floating type.
    made_by : tuple of str
        The operator that gives each answer, or "".
    """

    module: nn.Module
    declared: tuple[int | None, ...]
    kind: torch.dtype
    answers: tuple[str, ...]
    fractions: tuple[bool, ...]
    made_by: tuple[str, ...]


class GraphProgram(nn.Module):
    """Operators in the order of the file; weights have the names that they had in the network."""

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        owners: Mapping[str, str],
        images: str,
        steps: Sequence[Operation],
        answers: tuple[str, ...],
    ) -> None:
        super().__init__()
        for name, tensor in weights.items():
            holder, _, last = name.rpartition(".")
            part: nn.Module = self
            for step in holder.split(".") if holder else ():
                if step not in part._modules:
                    part.add_module(step, nn.Module())
                part = part.get_submodule(step)
            if tensor.is_floating_point():
                part.register_parameter(last, nn.Parameter(tensor, requires_grad=False))
            else:
                part.register_buffer(last, tensor)
        self.owners, self.images, self.steps, self.answers = dict(owners), images, tuple(steps), answers

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Answers to a batch of images."""
        held = {
            **dict(self.named_parameters(remove_duplicate=False)),
            **dict(self.named_buffers(remove_duplicate=False)),
        }
        found: dict[str, Any] = {name: held[weight] for name, weight in self.owners.items()}
        found[self.images] = images

        def filled(value: Any) -> Any:
            if isinstance(value, Named):
                return found[value.name]
            return [filled(each) for each in value] if isinstance(value, list) else value

        for step in self.steps:
            result = step.function(*map(filled, step.arguments), **{k: filled(v) for k, v in step.keywords.items()})
            for name, part in zip(step.outputs, result if step.several else (result,), strict=True):
                if name is not None:
                    found[name] = part
        told = tuple(found[name] for name in self.answers)
        return told[0] if len(told) == 1 else told


def read_exported_graph(file: str | io.BytesIO) -> ExportedGraph:
    """Read a program of `torch.export`.

    Raises
    ------
    NotPlainError
        If torch's own reader is needed.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            return _read(archive)
    except NotPlainError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        raise NotPlainError(f"{type(error).__name__}: {error}") from error


def _read(archive: zipfile.ZipFile) -> ExportedGraph:
    root = archive.namelist()[0].partition("/")[0]

    def loaded(name: str) -> Any:
        with archive.open(f"{root}/{name}") as entry:
            words = entry.read(MOST_JSON + 1)
        if len(words) > MOST_JSON:
            raise NotPlainError("its graph is very large")
        return json.loads(words)

    program = loaded("models/model.json")
    if program["schema_version"]["major"] != SCHEMA:
        raise NotPlainError("it has another layout")
    graph, signature = program["graph_module"]["graph"], program["graph_module"]["signature"]
    kinds: dict[str, dict[str, Any]] = graph["tensor_values"]
    owners: dict[str, str] = {}
    images: list[str] = []
    for spec in signature["input_specs"]:
        ((kind, said),) = spec.items()
        if kind == "user_input":
            images.append(said["arg"]["as_tensor"]["name"])
        elif kind in ("parameter", "buffer", "tensor_constant"):
            name = said[f"{kind}_name"]
            owners[said["arg"]["name"]] = name
        else:
            raise NotPlainError(f"it takes a {kind}")
    if len(images) != 1:
        raise NotPlainError("it takes several inputs")
    answers = []
    for spec in signature["output_specs"]:
        ((kind, said),) = spec.items()
        if kind != "user_output":
            raise NotPlainError(f"it gives a {kind}")
        answers.append(said["arg"]["as_tensor"]["name"])
    weights = {}
    for folder, listing in (("weights", "model_weights_config.json"), ("constants", "model_constants_config.json")):
        for name, entry in loaded(f"data/{folder}/{listing}")["config"].items():
            weights[name] = _tensor(archive, f"{root}/data/{folder}/{entry['path_name']}", entry)
    used = {name: weights[name] for name in dict.fromkeys(owners.values())}
    steps = [_operation(node) for node in graph["nodes"]]
    module = GraphProgram(used, owners, images[0], steps, tuple(answers))
    makers = {name: node["target"] for node, step in zip(graph["nodes"], steps, strict=True) for name in step.outputs}
    taken = kinds[images[0]]
    return ExportedGraph(
        module.eval(),
        tuple(map(_declared, taken["sizes"])),
        TYPES[taken["dtype"]],
        tuple(answers),
        tuple(TYPES[kinds[name]["dtype"]].is_floating_point for name in answers),
        tuple(makers.get(name, "").removeprefix("torch.ops.aten.").partition(".")[0] for name in answers),
    )


def _declared(size: Mapping[str, Any]) -> int | None:
    """A size of the images; None for an open one, which has a name of its own."""
    if "as_int" in size:
        return int(size["as_int"])
    if OPEN_SIZE.fullmatch(size["as_expr"]["expr_str"]) is None:
        raise NotPlainError("the size of its images is calculated")
    return None


def _tensor(archive: zipfile.ZipFile, name: str, entry: Mapping[str, Any]) -> Tensor:
    """One weight, of its raw bytes."""
    about = entry["tensor_meta"]
    if entry["use_pickle"] or about["layout"] != STRIDED:
        raise NotPlainError("it holds weights that are no plain tensors")
    contents = bytearray(archive.read(name))
    flat = (
        torch.frombuffer(contents, dtype=TYPES[about["dtype"]])
        if contents
        else torch.empty(0, dtype=TYPES[about["dtype"]])
    )
    sizes, strides = ([size["as_int"] for size in about[key]] for key in ("sizes", "strides"))
    return flat.as_strided(sizes, strides, about["storage_offset"]["as_int"])


def _operation(node: Mapping[str, Any]) -> Operation:
    """One operator and its arguments."""
    target = node["target"]
    function = ARITHMETIC.get(target)
    if function is None:
        words = target.split(".")
        if words[:3] != ["torch", "ops", "aten"] or len(words) != 5:
            raise NotPlainError(f"it calls {target}")
        function = getattr(getattr(torch.ops.aten, words[3]), words[4])
    arguments, keywords = [], {}
    for given in node["inputs"]:
        value = _value(given["arg"])
        if given.get("kind") == 2:
            keywords[given["name"]] = value
        elif given.get("kind") == 1:
            arguments.append(value)
        else:
            raise NotPlainError("it has another layout")
    outputs = [_output(output) for output in node["outputs"]]
    if len(outputs) == 1 and isinstance(outputs[0], list):
        return Operation(function, tuple(arguments), keywords, tuple(outputs[0]), True)
    if any(isinstance(output, list) for output in outputs):
        raise NotPlainError("it gives lists beside tensors")
    return Operation(function, tuple(arguments), keywords, tuple(outputs), len(outputs) > 1)


def _output(output: Mapping[str, Any]) -> Any:
    """The name of a result, a list of names, or None for none."""
    ((kind, said),) = output.items()
    if kind == "as_tensor":
        return said["name"]
    if kind == "as_tensors":
        return [each["name"] for each in said]
    if kind == "as_sym_int":
        return said["as_name"]
    if kind == "as_none":
        return None
    raise NotPlainError(f"it gives {kind}")


def _value(argument: Mapping[str, Any]) -> Any:
    """An argument: a number, a text, several of them, or the name of a result."""
    ((kind, said),) = argument.items()
    if kind in PLAIN:
        return said
    if kind == "as_none":
        return None
    if kind == "as_tensor":
        return Named(said["name"])
    if kind == "as_tensors":
        return [Named(each["name"]) for each in said]
    if kind == "as_optional_tensors":
        return [Named(each["as_tensor"]["name"]) if "as_tensor" in each else None for each in said]
    if kind == "as_sym_int":
        return _size(said)
    if kind == "as_sym_ints":
        return [_size(each) for each in said]
    if kind == "as_scalar_type":
        return TYPES[said]
    if kind == "as_memory_format":
        return MEMORY_FORMATS[said]
    if kind == "as_layout" and said == STRIDED:
        return torch.strided
    if kind == "as_device" and said["type"] == "cpu":
        return torch.device("cpu")
    raise NotPlainError(f"it is called with {kind}")


def _size(said: Mapping[str, Any]) -> Any:
    return said["as_int"] if "as_int" in said else Named(said["as_name"])
