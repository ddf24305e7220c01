"""What the ONNX operators that move numbers without changing them mean in torch: shapes, axes, borders."""

import math
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from onepixel.opening.onnx_module import Value
from onepixel.opening.onnx_node import AXES, FLAG, PADS, Node


def places(node: Node, axes: list[int], dimensions: int) -> list[int]:
    """Axes counted from the front, none twice, the batch not among them."""
    found = sorted(axis + dimensions if axis < 0 else axis for axis in axes)
    if len(set(found)) != len(found) or any(not 0 < axis < dimensions for axis in found):
        raise node.refusal(f"works along the axes {axes}")
    return found


def reshaped(node: Node, shape: list[int]) -> Value:
    """A value in another shape (of one image)."""
    maps = node.maps()
    if math.prod(shape) != maps.numbers or not 1 <= len(shape) <= 7:
        raise node.refusal(f"reshapes {maps.shape} for one image to {shape[:8]}")
    return replace(maps, shape=tuple(shape))


def flatten(node: Node) -> Value:
    """Flatten, keeping images apart."""
    maps = node.maps()
    axis = node.integer("axis", 1, AXES)
    if axis not in (1, -len(maps.shape)):
        raise node.refusal(f"flattens from axis {axis} on")
    return reshaped(node, [maps.numbers])


def reshape(node: Node) -> Value:
    """Reshape to a constant shape, keeping images apart."""
    value, wanted, copies = node.value(0), node.constant_integers(1), not node.integer("allowzero", 0, FLAG)
    before = value.shape if isinstance(value, Tensor) else (0, *value.shape)
    sizes = [before[place] if size == 0 and copies else size for place, size in enumerate(wanted)]
    if isinstance(value, Tensor):
        return value.reshape(sizes)
    first, rest = wanted[0] if wanted else None, sizes[1:]
    if not (first == -1 or (first == 0 and copies) or (first is not None and first == node.batch)):
        raise node.refusal(f"reshapes to {wanted}, which need not keep images apart")
    if first != -1 and rest.count(-1) == 1:
        rest[rest.index(-1)] = value.numbers // max(1, abs(math.prod(rest)))
    return reshaped(node, rest)


def squeeze(node: Node) -> Value:
    """Squeeze."""
    value, axes = node.value(0), node.axes()
    if axes is None:
        raise node.refusal("does not say which axes it drops")
    if isinstance(value, Tensor):
        return value.squeeze(tuple(axes))
    dropped = places(node, axes, len(value.shape) + 1)
    if any(value.shape[axis - 1] != 1 for axis in dropped):
        raise node.refusal(f"drops axes of {value.shape} that are longer than one")
    return reshaped(node, [size for axis, size in enumerate(value.shape, 1) if axis not in dropped])


def unsqueeze(node: Node) -> Value:
    """Unsqueeze."""
    value, axes = node.value(0), node.axes()
    if axes is None:
        raise node.refusal("does not say which axes it adds")
    dimensions = len(axes) + (value.ndim if isinstance(value, Tensor) else len(value.shape) + 1)
    if isinstance(value, Tensor):
        for axis in sorted(axis + dimensions if axis < 0 else axis for axis in axes):
            value = value.unsqueeze(axis)
        return value
    sizes = list(value.shape)
    for axis in places(node, axes, dimensions):
        sizes.insert(axis - 1, 1)
    return reshaped(node, sizes)


def transpose(node: Node) -> Value:
    """Transpose, keeping images apart; nothing moves until somebody needs it, and most come in pairs."""
    value = node.value(0)
    dimensions = value.ndim if isinstance(value, Tensor) else len(value.shape) + 1
    order = node.integers("perm", list(range(dimensions))[::-1], range(dimensions))
    if isinstance(value, Tensor):
        return value.permute(order).contiguous()
    if sorted(order) != list(range(dimensions)) or order[0] != 0:
        raise node.refusal(f"orders the axes {order}, which does not keep images apart")
    node.builder.spend(value.numbers)
    return value.permuted(tuple(axis - 1 for axis in order[1:]))


def concatenation(node: Node) -> Value:
    """Concat along the axis after the batch."""
    parts = [node.builder.plain(node.name, node.maps(place)) for place in range(len(node.inputs))]
    axis = node.integer("axis", 0, AXES)
    if not parts or axis not in (1, -len(parts[0].shape)):
        raise node.refusal(f"concatenates along the axis {axis}")
    return node.result(lambda *fulls: torch.cat(fulls, 1), *parts)


def pad(node: Node) -> Value:
    """Pad rows and columns with a constant; its settings are attributes up to version 10, inputs since."""
    maps = node.image_maps()
    if node.word("mode", "constant") != "constant" or node.given(3):
        raise node.refusal("pads in a way for which there is no rule")
    if node.opset < 11:
        amounts, fill = node.integers("pads", [0] * 8, PADS), node.decimal("value", 0.0)
    else:
        amounts = node.allowed("pads", node.constant_integers(1), PADS)
        fill = node.constant_number(2) if node.given(2) else 0.0
    if len(amounts) != 8 or any(amounts[place] for place in (0, 1, 4, 5)):
        raise node.refusal("pads something else than rows and columns")
    _, _, top, left, _, _, bottom, right = amounts
    return node.result(partial(functional.pad, pad=(left, right, top, bottom), value=fill), maps)
