"""Operators that move numbers about: copies, views, concatenation, padding, one of several results."""

import operator
from typing import Any

import torch
from torch import fx

from onepixel.signatures.incremental.lowering.translation import Lowering, Rule, parameter
from onepixel.signatures.incremental.steps import Concatenation, Shift

aten = torch.ops.aten


def identity(lowering: Lowering, node: fx.Node) -> None:
    """Copies and their like."""
    source = node.args[0]
    assert isinstance(source, fx.Node)
    if lowering.value(node).dtype != lowering.value(source).dtype:
        raise lowering.refuse(node, "changes the floating type")
    lowering.alias(node, source)


def selection(lowering: Lowering, node: fx.Node) -> None:
    """The first result of an operator that gives several."""
    source = node.args[0]
    assert isinstance(source, fx.Node)
    if node.args[1] != 0:
        raise lowering.refuse(node, "uses a result that has no rule (the places of a max pooling, say)")
    lowering.alias(node, source)


def view(lowering: Lowering, node: fx.Node) -> None:
    """Reshaping that keeps the images apart: flattening, or dropping and adding axes of length one."""
    source = node.args[0]
    assert isinstance(source, fx.Node)
    before, after = lowering.value(source), lowering.value(node)
    channels, height, width = lowering.shapes[lowering.maps[source]]
    inner = tuple(after.shape[1:])
    known = inner in ((channels * height * width,), (channels, height, width))
    if len(after) != len(before) or not (known or (height == width == 1 and inner == (channels, 1, 1))):
        raise lowering.refuse(node, f"reshapes {tuple(before.shape)} to {tuple(after.shape)}")
    lowering.alias(node, source)


def concatenation(lowering: Lowering, node: fx.Node) -> None:
    """Maps along the channels; constant parts have no difference."""
    parts, axis = node.args[0], parameter(node, 1, "dim", 0)
    assert isinstance(parts, (list, tuple))
    if axis not in (1, 1 - lowering.value(node).ndim):
        raise lowering.refuse(node, "concatenates along another axis than the channels")
    firsts, first = [], 0
    for part in parts:
        firsts.append(first)
        first += lowering.value(part).shape[1]
    changing = [(part, start) for part, start in zip(parts, firsts, strict=True) if lowering.varies(part)]
    arguments = lowering.arguments(node, *(part for part, _ in changing))
    lowering.steps.append(Concatenation(**arguments, channels_before=tuple(start for _, start in changing)))


def padding(lowering: Lowering, node: fx.Node) -> None:
    """Constant padding or cropping of rows and columns; the constant belongs to the base."""
    source, amounts = node.args[0], list(lowering.value(node.args[1]))
    assert isinstance(source, fx.Node)
    if lowering.value(source).ndim != 4 or any(amounts[4:]):
        raise lowering.refuse(node, "pads something else than rows and columns")
    left, top = amounts[0], amounts[2] if len(amounts) > 2 else 0
    lowering.steps.append(Shift(**lowering.arguments(node, source), before=(top, left)))


RULES: dict[Any, Rule] = {
    operator.getitem: selection,
    aten.cat.default: concatenation,
    aten.constant_pad_nd.default: padding,
}
for _rule, _packets in (
    (identity, (aten.clone, aten.alias, aten.detach, aten._to_copy, aten.contiguous)),
    (view, (aten.view, aten._unsafe_view, aten.reshape, aten.flatten)),
):
    RULES.update({getattr(packet, packet.overloads()[0]): _rule for packet in _packets})
for _packet in (aten.squeeze, aten.unsqueeze):
    RULES.update({getattr(_packet, name): view for name in _packet.overloads()})
