"""From traced ATen operators to the engine's steps; an operator without a rule here is refused by name."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from onepixel.signatures.incremental.convolution import Convolution, Pair
from onepixel.signatures.incremental.fusion import fuse
from onepixel.signatures.incremental.steps import (
    AcrossChannels,
    Average,
    Concatenation,
    Nonlinear,
    Pool,
    Product,
    Scale,
    Shape,
    Shift,
    Step,
    Sum,
)
from onepixel.signatures.incremental.tracing import NotIncrementalError, Trace

aten = torch.ops.aten

IMAGE = 0
"""The number of the prepared image among the maps."""


@dataclass(frozen=True)
class Program:
    """The steps from the changed pixel to the answers.

    Attributes
    ----------
    steps : tuple of Step
    image : Tensor of shape (M, C, H, W)
        The prepared default images.
    answer : int
        The map that holds the answers.
    base : Tensor of shape (M, K)
        The default images' answers.
    nodes : dict
        The traced node of every map.
    """

    steps: tuple[Step, ...]
    image: Tensor
    answer: int
    base: Tensor
    nodes: dict[int, fx.Node]


def lower(trace: Trace, dtype: torch.dtype) -> Program:
    """Translate every operator that the answers depend on.

    Raises
    ------
    NotIncrementalError
        If there is no rule for one of them.
    """
    return Lowering(trace, dtype).program()


class Lowering:
    """One translation; the maps get numbers, several nodes may share one (a reshaped or shifted map)."""

    def __init__(self, trace: Trace, dtype: torch.dtype) -> None:
        self.trace = trace
        self.dtype = dtype
        self.maps: dict[fx.Node, int] = {}
        self.shapes: list[Shape] = []
        self.steps: list[Step] = []
        self.images = len(trace.values[trace.nodes[0]])

    def program(self) -> Program:
        """Translate in the order of execution."""
        for node in live_nodes(self.trace):
            if node.op == "placeholder":
                channels, height, width = self.value(node).shape[1:]
                self.maps[node] = self.new_map((channels, height, width))
            else:
                self.translate(node)
        answer, output = self.maps[self.trace.output], self.value(self.trace.output)
        if output.ndim != 2 or self.shapes[answer][1:] != (1, 1):
            raise NotIncrementalError("its answers are not made by a dense layer or a pooling to one position")
        image = self.value(self.trace.nodes[0])[:-1].to(self.dtype)
        steps = tuple(step.cast(self.dtype) for step in fuse(self.steps, answer))
        nodes = {number: node for node, number in reversed(self.maps.items())}
        return Program(steps, image, answer, output[:-1].to(self.dtype), nodes)

    def translate(self, node: fx.Node) -> None:
        """Apply the operator's rule."""
        rule = RULES.get(node.target)
        if rule is None and node.target in POINTWISE:
            rule = pointwise
        if rule is None:
            raise NotIncrementalError(f"there is no rule for {node.target} in {self.trace.labels[node]}")
        rule(self, node)

    def refuse(self, node: fx.Node, why: str) -> NotIncrementalError:
        """The error that names an operator."""
        return NotIncrementalError(f"{self.trace.labels[node]} {why}")

    def value(self, node: Any) -> Any:
        """A node's value on the default images and noise, or a constant argument as it is."""
        return self.trace.values[node] if isinstance(node, fx.Node) else node

    def varies(self, argument: Any) -> bool:
        """Whether an argument depends on the image."""
        return isinstance(argument, fx.Node) and argument in self.trace.varying

    def new_map(self, shape: Shape) -> int:
        """A number for a map of this shape (C, H, W)."""
        self.shapes.append(shape)
        return len(self.shapes) - 1

    def map_of(self, node: fx.Node) -> int:
        """The map of a node that is used as a map (C, H, W) or as a vector (C,), not as a flattened map."""
        number = self.maps[node]
        shape = tuple(self.value(node).shape[1:])
        if shape != self.shapes[number] and self.shapes[number] != (*shape, 1, 1):
            raise self.refuse(node, "is flattened and then used by an operator other than a dense layer")
        return number

    def base(self, node: fx.Node) -> Tensor:
        """The default images' maps of a node, (M, H, C, W)."""
        shape = self.shapes[self.maps[node]]
        values = self.value(node)[:-1]
        if not bool(torch.isfinite(values).all()):
            raise self.refuse(node, "gives infinite numbers, of which there are no differences")
        return values.reshape(-1, *shape).permute(0, 2, 1, 3).to(self.dtype).contiguous()

    def alias(self, node: fx.Node, source: fx.Node) -> None:
        """A node whose difference is that of another."""
        self.maps[node] = self.maps[source]

    def result(self, node: fx.Node) -> tuple[int, Shape]:
        """A new map for a node's value."""
        value = self.value(node)
        if not isinstance(value, Tensor) or value.ndim not in (2, 4) or len(value) != self.images:
            raise self.refuse(node, "gives neither maps (N, C, H, W) nor vectors (N, C)")
        shape: Shape = (value.shape[1], 1, 1) if value.ndim == 2 else (value.shape[1], value.shape[2], value.shape[3])
        self.maps[node] = self.new_map(shape)
        return self.maps[node], shape

    def arguments(self, node: fx.Node, *sources: fx.Node) -> dict[str, Any]:
        """What every step has: its label, the numbers of its maps, and their shapes."""
        inputs = tuple(self.map_of(source) for source in sources)
        output, shape = self.result(node)
        shapes = (*(self.shapes[number] for number in inputs), shape)
        return {"label": self.trace.labels[node], "inputs": inputs, "output": output, "shapes": shapes}


def live_nodes(trace: Trace) -> list[fx.Node]:
    """The varying nodes that the answers depend on, in order."""
    live = {trace.output}
    for node in reversed(trace.nodes):
        if node in live:
            live.update(node.all_input_nodes)
    found = [node for node in trace.nodes if node in live and node in trace.varying]
    if trace.output not in trace.varying:
        raise NotIncrementalError("its answers do not depend on the image")
    return found


def parameter(node: fx.Node, index: int, name: str, default: Any) -> Any:
    """An argument by place or by name."""
    return node.args[index] if len(node.args) > index else node.kwargs.get(name, default)


def pair(numbers: Any) -> Pair:
    """One number for both axes, or two."""
    if isinstance(numbers, int):
        return numbers, numbers
    return (int(numbers[0]), int(numbers[-1]))


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


def average_pool(lowering: Lowering, node: fx.Node) -> None:
    """Sliding average pooling."""
    source, kernel = node.args[0], pair(node.args[1])
    stride = pair(parameter(node, 2, "stride", None) or kernel)
    padding = pair(parameter(node, 3, "padding", 0))
    include_padding = bool(parameter(node, 5, "count_include_pad", True))
    divisor = parameter(node, 6, "divisor_override", None)
    assert isinstance(source, fx.Node)
    arguments = lowering.arguments(node, source)
    before, after = arguments["shapes"]
    weights = []
    for axis in (0, 1):
        matrix = torch.zeros(after[axis + 1], before[axis + 1], dtype=torch.float64)
        for cell in range(after[axis + 1]):
            first = cell * stride[axis] - padding[axis]
            last = min(first + kernel[axis], before[axis + 1] + padding[axis])
            counted = last - first
            first, last = max(first, 0), min(last, before[axis + 1])
            matrix[cell, first:last] = 1.0 / (counted if include_padding else last - first)
            if divisor is not None:
                matrix[cell, first:last] = 1.0 / divisor if axis == 0 else 1.0
        weights.append(matrix)
    add_average(lowering, arguments, weights)


def adaptive_average_pool(lowering: Lowering, node: fx.Node) -> None:
    """Cells [floor(i H / h), ceil((i + 1) H / h))."""
    source = node.args[0]
    assert isinstance(source, fx.Node)
    arguments = lowering.arguments(node, source)
    before, after = arguments["shapes"]
    weights = []
    for axis in (0, 1):
        length, cells = before[axis + 1], after[axis + 1]
        matrix = torch.zeros(cells, length, dtype=torch.float64)
        for cell in range(cells):
            first, last = cell * length // cells, -(-(cell + 1) * length // cells)
            matrix[cell, first:last] = 1.0 / (last - first)
        weights.append(matrix)
    add_average(lowering, arguments, weights)


def spatial_mean(lowering: Lowering, node: fx.Node) -> None:
    """The mean or the sum over rows and columns."""
    source, axes = node.args[0], parameter(node, 1, "dim", None)
    assert isinstance(source, fx.Node)
    if lowering.value(source).ndim != 4 or sorted(axis % 4 for axis in axes or ()) != [2, 3]:
        raise lowering.refuse(node, "is a mean over something else than rows and columns")
    arguments = lowering.arguments(node, source)
    _, height, width = arguments["shapes"][0]
    total = 1.0 if node.target is aten.sum.dim_IntList else 1.0 / (height * width)
    rows = torch.full((1, height), total, dtype=torch.float64)
    add_average(lowering, arguments, [rows, torch.ones(1, width, dtype=torch.float64)])


def add_average(lowering: Lowering, arguments: dict[str, Any], weights: list[Tensor]) -> None:
    """Append an average with these matrices, on the classifier's device."""
    device = lowering.value(lowering.trace.nodes[0]).device
    rows, columns = (matrix.to(device) for matrix in weights)
    lowering.steps.append(Average(**arguments, weights=(rows, columns)))


def max_pool(lowering: Lowering, node: fx.Node) -> None:
    """Max pooling, with or without the places of the maxima."""
    source, kernel = node.args[0], pair(node.args[1])
    assert isinstance(source, fx.Node)
    if isinstance(lowering.value(node), tuple):
        lowering.trace.values[node] = lowering.value(node)[0]
    pool = Pool(
        kernel,
        pair(parameter(node, 2, "stride", None) or kernel),
        pair(parameter(node, 3, "padding", 0)),
        pair(parameter(node, 4, "dilation", 1)),
    )
    arguments = lowering.arguments(node, source)
    before, after = lowering.base(source), lowering.base(node)
    lowering.steps.append(
        Nonlinear(**arguments, before=(), pool=pool, after=(), base_in=before, base_middle=before, base_out=after)
    )


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


Rule = Callable[[Lowering, fx.Node], None]

RULES: dict[Any, Rule] = {
    operator.getitem: selection,
    aten.convolution.default: convolution,
    aten._convolution.default: convolution,
    aten.addmm.default: dense,
    aten.mm.default: dense,
    aten.linear.default: dense,
    aten._prelu_kernel.default: per_channel_relu,
    aten.max_pool2d_with_indices.default: max_pool,
    aten.max_pool2d.default: max_pool,
    aten.avg_pool2d.default: average_pool,
    aten._adaptive_avg_pool2d.default: adaptive_average_pool,
    aten.mean.dim: spatial_mean,
    aten.sum.dim_IntList: spatial_mean,
    aten.cat.default: concatenation,
    aten.constant_pad_nd.default: padding,
    aten._softmax.default: across_channels,
    aten._log_softmax.default: across_channels,
    aten.div.Tensor: division,
    aten.div.Scalar: division,
}
for _rule, _targets in (
    (identity, (aten.clone, aten.alias, aten.detach, aten._to_copy, aten.contiguous)),
    (batch_norm, (aten.native_batch_norm, aten._native_batch_norm_legit_no_training, aten.cudnn_batch_norm)),
    (batch_norm, (aten._batch_norm_no_update,)),
    (view, (aten.view, aten._unsafe_view, aten.reshape, aten.flatten)),
):
    RULES.update({getattr(packet, packet.overloads()[0]): _rule for packet in _targets})
for _packet in (aten.squeeze, aten.unsqueeze):
    RULES.update({getattr(_packet, name): view for name in _packet.overloads()})
for _packet in (aten.add, aten.sub, aten.rsub):
    RULES.update({getattr(_packet, name): addition for name in ("Tensor", "Scalar")})
for _packet in (aten.mul,):
    RULES.update({getattr(_packet, name): multiplication for name in ("Tensor", "Scalar")})

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
