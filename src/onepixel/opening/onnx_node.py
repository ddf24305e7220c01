"""One node of an ONNX graph as the rules of `onnx_operators` see it: inputs, and attributes to be accounted for.

A rule takes an attribute by its name and says which values it knows; an attribute that no rule took, or a value that
is not allowed, makes the graph not convertible.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from onepixel.opening.onnx_module import Builder, Maps, NotConvertibleError, Value
from onepixel.printable import one_line

SIZES = range(1, 4097)
PADS = range(4097)
FLAG = range(2)
AXES = range(-8, 8)
ANYTHING = range(-(2**63), 2**63)
"""What whole numbers in attributes may be."""

FLOAT, INT64, BOOL = 1, 7, 9
TYPES = {FLOAT: torch.float32, INT64: torch.int64, BOOL: torch.bool}
"""Types of constants, by their numbers in TensorProto.DataType."""


class Node:
    """One node of the graph: its inputs, and its attributes as far as they are not understood yet.

    Parameters
    ----------
    builder : Builder
        The module on its way.
    name : str
        For people.
    proto : onnx.NodeProto
    inputs : list of Value or None
        None where an optional one is left out.
    opset : int
        Version of ONNX's operators.
    batch : int or None
        The only batch size that the graph takes, if it takes only one.
    """

    def __init__(
        self, builder: Builder, name: str, proto: Any, inputs: list[Value | None], opset: int, batch: int | None
    ) -> None:
        self.builder, self.name, self.opset, self.batch = builder, name, opset, batch
        self.inputs = inputs
        self.attributes = {attribute.name: attribute for attribute in proto.attribute}
        if len(self.attributes) != len(proto.attribute) or any(a.ref_attr_name for a in proto.attribute):
            raise self.refusal("has attributes that are given twice or from outside")

    def refusal(self, why: str) -> NotConvertibleError:
        """The error that names this node."""
        return NotConvertibleError(f"{self.name} {why}")

    def require_all_understood(self) -> None:
        """Refuse the node if a rule left one of its attributes alone."""
        if self.attributes:
            raise self.refusal(f"has attributes without a rule: {', '.join(sorted(self.attributes))[:80]}")

    def take(self, name: str, kind: str) -> Any:
        """An attribute of a certain type; None where it is left out."""
        attribute = self.attributes.pop(name, None)
        if attribute is None:
            return None
        if attribute.type != attribute.DESCRIPTOR.enum_types_by_name["AttributeType"].values_by_name[kind].number:
            raise self.refusal(f"has an attribute {name} of an unknown type")
        field = {"INT": "i", "FLOAT": "f", "STRING": "s", "TENSOR": "t", "INTS": "ints", "FLOATS": "floats"}[kind]
        return getattr(attribute, field)

    def integer(self, name: str, default: int, allowed: range) -> int:
        """A whole number."""
        found = self.take(name, "INT")
        return self.allowed(name, [default if found is None else found], allowed)[0]

    def integers(self, name: str, default: list[int] | None, allowed: range) -> list[int]:
        """Whole numbers; as many as the default has, if it has any."""
        found = self.take(name, "INTS")
        numbers = list(default or ()) if found is None else list(found)
        if (default is None and found is None) or (default and len(numbers) != len(default)):
            raise self.refusal(f"has {'no' if found is None else len(numbers)} numbers for {name}")
        return self.allowed(name, numbers, allowed)

    def allowed(self, name: str, numbers: list[int], allowed: range) -> list[int]:
        """The numbers, if all of them may be."""
        if any(number not in allowed for number in numbers):
            raise self.refusal(f"has {numbers[:8]} for {name}, for which there is no rule")
        return numbers

    def decimal(self, name: str, default: float) -> float:
        """A finite number."""
        found = self.take(name, "FLOAT")
        return self.finite(default if found is None else found)

    def finite(self, number: float) -> float:
        """The number, if it is one."""
        if not math.isfinite(number):
            raise self.refusal("has an infinite number or NaN for a setting")
        return number

    def word(self, name: str, default: str) -> str:
        """A text."""
        found = self.take(name, "STRING")
        return default if found is None else found.decode("utf-8", "replace")

    def given(self, place: int) -> bool:
        """Whether there is such an input."""
        return len(self.inputs) > place and self.inputs[place] is not None

    def value(self, place: int) -> Value:
        """An input."""
        found = self.inputs[place] if self.given(place) else None
        if found is None:
            raise self.refusal(f"lacks its input {place}")
        return found

    def maps(self, place: int = 0) -> Maps:
        """An input that depends on the image."""
        found = self.value(place)
        if isinstance(found, Tensor):
            raise self.refusal(f"takes a constant for its input {place}")
        return found

    def image_maps(self) -> Maps:
        """The first input, maps (C, H, W) for one image, as they were computed."""
        found = self.builder.plain(self.name, self.maps())
        assert isinstance(found, Maps)
        if len(found.shape) != 3:
            raise self.refusal(f"takes {found.shape} for one image, not maps (C, H, W)")
        return found

    def constant(self, place: int) -> Tensor:
        """An input that does not depend on the image."""
        found = self.value(place)
        if isinstance(found, Maps):
            raise self.refusal(f"takes something that depends on the image for its input {place}")
        return found

    def constant_integers(self, place: int) -> list[int]:
        """A short constant list of whole numbers."""
        found = self.constant(place)
        if found.dtype != torch.int64 or found.ndim > 1 or found.numel() > 16:
            raise self.refusal(f"takes something else than a few whole numbers for its input {place}")
        return [int(number) for number in found.reshape(-1)]

    def constant_number(self, place: int) -> float:
        """One constant number."""
        found = self.constant(place)
        if found.dtype != torch.float32 or found.numel() != 1:
            raise self.refusal(f"takes something else than one number for its input {place}")
        return self.finite(float(found))

    def axes(self) -> list[int] | None:
        """The axes of a squeezing, unsqueezing or reducing node: an attribute once, an input today."""
        if "axes" in self.attributes:
            return self.integers("axes", [], AXES)
        return self.allowed("axes", self.constant_integers(1), AXES) if self.given(1) else None

    def result(self, function: Callable[..., Tensor], *arguments: Value, shape: tuple[int, ...] | None = None) -> Value:
        """A function of the module's results and constants; `shape` is the result's for two images, where known."""
        return self.builder.add(self.name, function, *arguments, shape=shape)


def tensor(stored: Any) -> Tensor:
    """A `TensorProto` as a tensor of its own.

    Raises
    ------
    NotConvertibleError
        If it is damaged, or of a type that has no rule.
    """
    from onnx import numpy_helper

    if stored.data_type not in TYPES:
        raise NotConvertibleError(f"it holds numbers of the type {stored.data_type} (TensorProto.DataType)")
    try:
        return torch.tensor(numpy_helper.to_array(stored), dtype=TYPES[stored.data_type])
    except (ValueError, TypeError, RuntimeError, MemoryError) as error:
        raise NotConvertibleError(f"it holds a damaged constant ({one_line(error, 120)})") from error
