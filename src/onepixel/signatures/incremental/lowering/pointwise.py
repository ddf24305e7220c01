"""Functions of every number alone, or of the channels at one position."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from onepixel.signatures.incremental.lowering.translation import Lowering, Rule
from onepixel.signatures.incremental.nonlinear_steps import AcrossChannels, Nonlinear

aten = torch.ops.aten


def pointwise(lowering: Lowering, node: fx.Node) -> None:
    """A function of every number alone; a flattened map keeps its shape."""
    source = node.args[0]
    if not lowering.varies(source) or any(lowering.varies(argument) for argument in node.args[1:]):
        raise lowering.refuse(node, "is a pointwise function with arguments that depend on the image")
    assert isinstance(source, fx.Node)
    function = pointwise_function(node, lowering)
    number = lowering.maps[source]
    shape = lowering.shapes[number]
    lowering.maps[node] = lowering.new_map(shape)
    before, after = lowering.base(source), lowering.base(node)
    lowering.steps.append(
        Nonlinear(
            label=lowering.trace.labels[node],
            inputs=(number,),
            output=lowering.maps[node],
            shapes=(shape, shape),
            before=(function,),
            pool=None,
            after=(),
            base_in=before,
            base_middle=after,
            base_out=after,
        )
    )


def pointwise_function(node: fx.Node, lowering: Lowering) -> Callable[[Tensor], Tensor]:
    """The operator with its fixed arguments; in place for ReLU."""
    target, rest, named = node.target, node.args[1:], dict(node.kwargs)
    if target is aten.relu.default:
        return torch.relu_
    if any(isinstance(argument, fx.Node) for argument in (*rest, *named.values())):
        raise lowering.refuse(node, "is a pointwise function with a tensor for an argument")
    assert callable(target)

    def apply(full: Tensor) -> Tensor:
        changed: Tensor = target(full, *rest, **named)
        return changed

    return apply


def per_channel_relu(lowering: Lowering, node: fx.Node) -> None:
    """PReLU with one slope for all or one per channel."""
    source, slope = node.args[0], lowering.value(node.args[1]).to(lowering.dtype)
    assert isinstance(source, fx.Node)
    slopes = slope.reshape(-1)[:, None, None, None] if slope.numel() > 1 else slope.reshape(())
    number = lowering.map_of(source)
    arguments = lowering.arguments(node, source)
    if slope.numel() not in (1, lowering.shapes[number][0]):
        raise lowering.refuse(node, "has slopes that are not one per channel")
    before, after = lowering.base(source), lowering.base(node)

    def apply(full: Tensor) -> Tensor:
        return torch.where(full > 0, full, full * slopes)

    lowering.steps.append(
        Nonlinear(**arguments, before=(apply,), pool=None, after=(), base_in=before, base_middle=after, base_out=after)
    )


def across_channels(lowering: Lowering, node: fx.Node) -> None:
    """Softmax over the channels."""
    source, axis = node.args[0], node.args[1]
    assert isinstance(source, fx.Node)
    assert isinstance(axis, int)
    if axis % lowering.value(source).ndim != 1:
        raise lowering.refuse(node, "is a softmax over something else than the channels")
    function = torch.log_softmax if node.target is aten._log_softmax.default else torch.softmax
    arguments = lowering.arguments(node, source)
    before, after = lowering.base(source), lowering.base(node)
    lowering.steps.append(
        AcrossChannels(**arguments, function=lambda full: function(full, dim=1), base_in=before, base_out=after)
    )


POINTWISE: frozenset[Any] = frozenset(
    getattr(getattr(aten, name), overload)
    for name, overload in (
        ("relu", "default"),
        ("hardtanh", "default"),
        ("leaky_relu", "default"),
        ("elu", "default"),
        ("gelu", "default"),
        ("silu", "default"),
        ("mish", "default"),
        ("hardswish", "default"),
        ("hardsigmoid", "default"),
        ("sigmoid", "default"),
        ("tanh", "default"),
        ("softplus", "default"),
        ("log_sigmoid_forward", "default"),
        ("exp", "default"),
        ("log", "default"),
        ("abs", "default"),
        ("neg", "default"),
        ("sqrt", "default"),
        ("rsqrt", "default"),
        ("reciprocal", "default"),
        ("sin", "default"),
        ("cos", "default"),
        ("erf", "default"),
        ("clamp", "default"),
        ("clamp_min", "default"),
        ("clamp_max", "default"),
        ("pow", "Tensor_Scalar"),
    )
)
"""Functions of every number alone."""

RULES: dict[Any, Rule] = {
    **dict.fromkeys(POINTWISE, pointwise),
    aten._prelu_kernel.default: per_channel_relu,
    aten._softmax.default: across_channels,
    aten._log_softmax.default: across_channels,
}
