"""Sums, products and quotients of maps and numbers."""

from typing import Any

import torch
from torch import fx

from onepixel.signatures.incremental.lowering.translation import Lowering, Rule, parameter
from onepixel.signatures.incremental.nonlinear_steps import Product
from onepixel.signatures.incremental.steps import Scale, Shape, Sum

aten = torch.ops.aten


def scaled(lowering: Lowering, node: fx.Node, source: fx.Node, factor: Any) -> None:
    """A map times constants: one for all, or one per channel."""
    shape = lowering.shapes[lowering.map_of(source)]
    factors = torch.as_tensor(factor, dtype=lowering.value(source).dtype, device=lowering.value(source).device)
    dimensions = lowering.value(source).ndim
    if factors.ndim > dimensions or (factors.ndim == dimensions and factors.shape[0] != 1):
        raise lowering.refuse(node, "multiplies by constants that differ between images")
    spread = factors.reshape((1,) * (dimensions - factors.ndim) + tuple(factors.shape))
    if any(size != 1 for size in spread.shape[2:]) or lowering.value(node).shape != lowering.value(source).shape:
        raise lowering.refuse(node, "multiplies by constants that differ from place to place")
    lowering.steps.append(
        Scale(**lowering.arguments(node, source), factor=spread.flatten().expand(shape[0]).contiguous())
    )


def addition(lowering: Lowering, node: fx.Node) -> None:
    """Sums and differences of maps, or of a map and constants."""
    left, right = node.args[0], node.args[1]
    alpha = float(parameter(node, 2, "alpha", 1))
    signs = (1.0, alpha if node.target in (aten.add.Tensor, aten.add.Scalar) else -alpha)
    if node.target in (aten.rsub.Tensor, aten.rsub.Scalar):
        signs = (-alpha, 1.0)
    if lowering.varies(left) and lowering.varies(right):
        assert isinstance(left, fx.Node)
        assert isinstance(right, fx.Node)
        arguments = lowering.arguments(node, left, right)
        check_broadcast(lowering, node, arguments["shapes"])
        lowering.steps.append(Sum(**arguments, signs=signs))
        return
    source, sign = (left, signs[0]) if lowering.varies(left) else (right, signs[1])
    assert isinstance(source, fx.Node)
    if lowering.value(node).shape != lowering.value(source).shape:
        raise lowering.refuse(node, "adds constants of another shape")
    if sign == 1:
        lowering.alias(node, source)
    else:
        scaled(lowering, node, source, sign)


def multiplication(lowering: Lowering, node: fx.Node) -> None:
    """Products of maps, or of a map and constants."""
    left, right = node.args[0], node.args[1]
    if not lowering.varies(right) or not lowering.varies(left):
        source, factor = (left, right) if lowering.varies(left) else (right, left)
        assert isinstance(source, fx.Node)
        scaled(lowering, node, source, lowering.value(factor))
        return
    assert isinstance(left, fx.Node)
    assert isinstance(right, fx.Node)
    arguments = lowering.arguments(node, left, right)
    check_broadcast(lowering, node, arguments["shapes"])
    bases = (lowering.base(left), lowering.base(right), lowering.base(node))
    lowering.steps.append(Product(**arguments, bases=bases))


def division(lowering: Lowering, node: fx.Node) -> None:
    """A map divided by constants."""
    source, divisor = node.args[0], node.args[1]
    if lowering.varies(divisor) or not isinstance(source, fx.Node) or node.kwargs:
        raise lowering.refuse(node, "divides by something that depends on the image")
    scaled(lowering, node, source, 1 / torch.as_tensor(lowering.value(divisor), dtype=lowering.value(source).dtype))


def check_broadcast(lowering: Lowering, node: fx.Node, shapes: tuple[Shape, ...]) -> None:
    """Two maps meet place by place, or one of them is a single place spread over the other."""
    *inputs, result = shapes
    for channels, *place in inputs:
        if channels != result[0] or tuple(place) not in (result[1:], (1, 1)):
            raise lowering.refuse(node, f"combines maps of shapes {inputs}")


RULES: dict[Any, Rule] = {
    aten.div.Tensor: division,
    aten.div.Scalar: division,
    aten.mul.Tensor: multiplication,
    aten.mul.Scalar: multiplication,
}
for _packet in (aten.add, aten.sub, aten.rsub):
    RULES.update({getattr(_packet, name): addition for name in ("Tensor", "Scalar")})
