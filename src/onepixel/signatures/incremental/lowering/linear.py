"""Operators with weights: convolution, dense layers, batch norm."""

from typing import Any

import torch
from torch import fx

from onepixel.signatures.incremental.convolution import Convolution
from onepixel.signatures.incremental.lowering.translation import Lowering, Rule, pair
from onepixel.signatures.incremental.steps import Scale

aten = torch.ops.aten


def convolution(lowering: Lowering, node: fx.Node) -> None:
    """aten.convolution of an image-dependent map with fixed weights; TorchScript's tracer adds flags for cuDNN."""
    source, weight, _, stride, padding, dilation, transposed, _, groups = node.args[:9]
    assert isinstance(source, fx.Node)
    if lowering.varies(weight) or lowering.varies(node.args[2]) or transposed or lowering.value(source).ndim != 4:
        raise lowering.refuse(node, "is no convolution with fixed weights")
    lowering.steps.append(
        Convolution(
            **lowering.arguments(node, source),
            weight=lowering.value(weight),
            stride=pair(stride),
            padding=pair(padding),
            dilation=pair(dilation),
            groups=lowering.value(groups),
        )
    )


def dense(lowering: Lowering, node: fx.Node) -> None:
    """A dense layer: a convolution as large as the map that was flattened."""
    kind = node.target
    if kind is aten.addmm.default:
        if node.kwargs or lowering.varies(node.args[0]):
            raise lowering.refuse(node, "is no dense layer with fixed weights")
        source, weight = node.args[1], node.args[2]
    else:
        source, weight = node.args[0], node.args[1]
    if not isinstance(source, fx.Node) or lowering.varies(weight) or not lowering.varies(source):
        raise lowering.refuse(node, "is no dense layer with fixed weights")
    matrix = lowering.value(weight) if kind is aten.linear.default else lowering.value(weight).t()
    number = lowering.maps[source]
    shape = lowering.shapes[number]
    if lowering.value(source).ndim != 2:
        raise lowering.refuse(node, "is a dense layer on something else than vectors")
    output, out_shape = lowering.result(node)
    lowering.steps.append(
        Convolution(
            label=lowering.trace.labels[node],
            inputs=(number,),
            output=output,
            shapes=(shape, out_shape),
            weight=matrix.reshape(-1, *shape),
            stride=(1, 1),
            padding=(0, 0),
            dilation=(1, 1),
            groups=1,
        )
    )


def batch_norm(lowering: Lowering, node: fx.Node) -> None:
    """Batch norm with fixed statistics."""
    source, weight, _, mean, variance, training, *_ = node.args
    eps = node.args[-1]
    if node.target in (aten._native_batch_norm_legit_no_training.default, aten._batch_norm_no_update.default):
        training = False
    if node.target is aten.cudnn_batch_norm.default:
        training = node.args[5]
    if training is not False or mean is None or variance is None or lowering.varies(weight):
        raise lowering.refuse(node, "is a batch norm without fixed statistics")
    assert isinstance(source, fx.Node)
    factor = torch.rsqrt(lowering.value(variance) + eps)
    if weight is not None:
        factor = factor * lowering.value(weight)
    # The operator gives several results; the map is the first.
    lowering.trace.values[node] = lowering.value(node)[0]
    lowering.steps.append(Scale(**lowering.arguments(node, source), factor=factor))


RULES: dict[Any, Rule] = {
    aten.convolution.default: convolution,
    aten._convolution.default: convolution,
    aten.addmm.default: dense,
    aten.mm.default: dense,
    aten.linear.default: dense,
}
for _packet in (
    aten.native_batch_norm,
    aten._native_batch_norm_legit_no_training,
    aten.cudnn_batch_norm,
    aten._batch_norm_no_update,
):
    RULES[getattr(_packet, _packet.overloads()[0])] = batch_norm
