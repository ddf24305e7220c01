"""What the operators of an ONNX graph mean in torch, one small rule each (ONNX, Operators.md). Axis 0 is the batch."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from onepixel.opening.onnx_module import Maps, Value
from onepixel.opening.onnx_node import ANYTHING, AXES, FLAG, FLOAT, INT64, PADS, SIZES, Node, tensor
from onepixel.opening.onnx_shapes import (
    concatenation,
    flatten,
    pad,
    places,
    reshape,
    squeeze,
    transpose,
    unsqueeze,
)

Rule = Callable[[Node], Value]


def padding(node: Node, size: tuple[int, ...], window: list[int], strides: list[int]) -> tuple[int, int, int, int]:
    """Rows above and below, columns left and right, for maps of that height and width and windows of that extent."""
    automatic, pads = node.word("auto_pad", "NOTSET"), node.integers("pads", [0, 0, 0, 0], PADS)
    if automatic in ("NOTSET", "VALID"):
        if automatic == "VALID" and any(pads):
            raise node.refusal("is padded in two ways")
        top, left, bottom, right = pads
        return top, bottom, left, right
    if automatic not in ("SAME_UPPER", "SAME_LOWER") or any(pads):
        raise node.refusal("is padded in a way for which there is no rule")
    found: list[int] = []
    for length, extent, stride in zip(size, window, strides, strict=True):
        total = max(0, (-(-length // stride) - 1) * stride + extent - length)
        less, more = total // 2, total - total // 2
        found += (less, more) if automatic == "SAME_UPPER" else (more, less)
    return found[0], found[1], found[2], found[3]


def for_two(value: Value) -> tuple[int, ...]:
    """The shape of a value for two images."""
    return (2, *value.stored) if isinstance(value, Maps) else tuple(value.shape)


def slid(
    maps: Maps, pads: tuple[int, int, int, int], extent: list[int], strides: list[int], *, ceil: bool = False
) -> tuple[int, int]:
    """Rows and columns of what a window finds that slides over maps with margins; by `ceil` beyond their end, too."""
    found = []
    for length, (before, after), window, stride in zip(
        maps.shape[1:], (pads[:2], pads[2:]), extent, strides, strict=True
    ):
        room = length + before + after - window
        steps = -(-room // stride) if ceil else room // stride
        # A window that would begin behind the maps is none.
        found.append(steps if ceil and steps * stride >= length + before else steps + 1)
    return found[0], found[1]


def convolution(node: Node) -> Value:
    """Conv with constant weights."""
    maps, weight = node.image_maps(), node.constant(1)
    arguments = (maps, weight, node.constant(2)) if node.given(2) else (maps, weight)
    groups = node.integer("group", 1, SIZES)
    if weight.ndim != 4 or weight.shape[1] * groups != maps.shape[0] or weight.shape[0] % groups:
        raise node.refusal(f"has weights {tuple(weight.shape)} for maps {maps.shape}")
    kernel = [int(size) for size in weight.shape[2:]]
    if node.integers("kernel_shape", kernel, SIZES) != kernel:
        raise node.refusal("has weights of another size than its kernel")
    strides, dilations = node.integers("strides", [1, 1], SIZES), node.integers("dilations", [1, 1], SIZES)
    extent = [dilation * (size - 1) + 1 for dilation, size in zip(dilations, kernel, strict=True)]
    top, bottom, left, right = padding(node, maps.shape[1:], extent, strides)
    even = (top, left) if (top, left) == (bottom, right) else (0, 0)
    convolve = partial(functional.conv2d, stride=strides, padding=even, dilation=dilations, groups=groups)
    size = slid(maps, (top, bottom, left, right), extent, strides)
    result = partial(node.result, convolve, shape=(2, weight.shape[0], *size))
    if (top, left) == (bottom, right):
        return result(*arguments)
    return result(node.result(partial(functional.pad, pad=(left, right, top, bottom)), maps), *arguments[1:])


def dense(node: Node, maps: Maps, weight: Tensor, bias: Tensor | None) -> Value:
    """A dense layer with a weight matrix (outputs, inputs); its columns follow where the numbers really lie."""
    if weight.ndim != 2 or len(maps.shape) != 1 or weight.shape[1] != maps.numbers:
        raise node.refusal(f"multiplies {maps.shape} for one image with {tuple(weight.shape)}")
    if maps.order is not None:
        weight = torch.empty_like(weight).index_copy_(1, maps.order, weight)
    flat = node.builder.plain(node.name, replace(maps, order=None))
    return node.result(functional.linear, flat, weight, *([] if bias is None else [bias]), shape=(2, len(weight)))


def gemm(node: Node) -> Value:
    """Gemm of rows with a constant matrix."""
    maps, weight = node.maps(), node.constant(1)
    alpha, beta = node.decimal("alpha", 1.0), node.decimal("beta", 1.0)
    node.integer("transA", 0, range(1))
    if weight.ndim != 2:
        raise node.refusal(f"multiplies with {tuple(weight.shape)}")
    weight = weight if node.integer("transB", 0, FLAG) else weight.t()
    bias = beta * node.constant(2).expand(1, len(weight)).reshape(-1) if node.given(2) else None
    return dense(node, maps, (weight if alpha == 1.0 else alpha * weight).contiguous(), bias)


def matrix_product(node: Node) -> Value:
    """MatMul of rows with a constant matrix."""
    weight = node.constant(1)
    if weight.ndim != 2:
        raise node.refusal(f"multiplies with {tuple(weight.shape)}")
    return dense(node, node.maps(), weight.t().contiguous(), None)


def arithmetic(function: Callable[[Tensor, Tensor], Tensor]) -> Rule:
    """Add, Sub, Mul, Div of two values that depend on the image, or of one and a constant."""

    def rule(node: Node) -> Value:
        values = [node.value(0), node.value(1)]
        varying = [value for value in values if isinstance(value, Maps)]
        constants = [value for value in values if isinstance(value, Tensor)]
        for fixed in constants if varying else []:
            spare = len(varying[0].shape) + 1 - fixed.ndim
            if spare < 0 or (spare == 0 and fixed.shape[0] != 1):
                raise node.refusal("combines images with constants of their own")
        if len({len(value.shape) for value in varying}) > 1:
            raise node.refusal("combines values of different numbers of axes")
        if len(varying) == 1 and constants[0].numel() == 1:
            plain = [v.reshape(()) if isinstance(v, Tensor) else v for v in values]
            result = node.result(function, *plain, shape=for_two(varying[0]))
            assert isinstance(result, Maps)
            return replace(result, shape=varying[0].shape, order=varying[0].order)
        plain = [node.builder.plain(node.name, value) for value in values]
        return node.result(function, *plain, shape=tuple(torch.broadcast_shapes(*map(for_two, plain))))

    return rule


def pointwise(function: Callable[[Tensor], Tensor]) -> Rule:
    """A function of every number alone, in whatever shape and order they are."""
    return lambda node: each(node, function)


def each(node: Node, function: Callable[[Tensor], Tensor]) -> Value:
    """Apply a function to every number of the first input."""
    value = node.value(0)
    result = node.result(function, value, shape=for_two(value))
    if isinstance(value, Tensor) or isinstance(result, Tensor):
        return result
    return replace(result, shape=value.shape, order=value.order)


def leaky_relu(node: Node) -> Value:
    """LeakyRelu."""
    return each(node, partial(functional.leaky_relu, negative_slope=node.decimal("alpha", 0.01)))


def elu(node: Node) -> Value:
    """Elu."""
    return each(node, partial(functional.elu, alpha=node.decimal("alpha", 1.0)))


def gelu(node: Node) -> Value:
    """Gelu."""
    approximate = node.word("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise node.refusal("is approximated in a way for which there is no rule")
    return each(node, partial(functional.gelu, approximate=approximate))


def hard_sigmoid(node: Node) -> Value:
    """HardSigmoid, max(0, min(1, alpha x + beta))."""
    alpha, beta = node.decimal("alpha", 0.2), node.decimal("beta", 0.5)
    return each(node, lambda full: torch.clamp(full * alpha + beta, 0.0, 1.0))


def slope_relu(node: Node) -> Value:
    """PRelu with one slope for all or one per channel."""
    maps, slope = node.image_maps(), node.constant(1)
    if slope.numel() != 1 and tuple(slope.shape[-3:]) != (maps.shape[0], 1, 1):
        raise node.refusal(f"has slopes {tuple(slope.shape)} for maps {maps.shape}")
    return node.result(functional.prelu, maps, slope.reshape(-1), shape=for_two(maps))


def clip(node: Node) -> Value:
    """Clip; its bounds are attributes up to version 10, inputs since."""
    lowest, highest = torch.finfo(torch.float32).min, torch.finfo(torch.float32).max
    if node.opset < 11:
        low, high = node.decimal("min", lowest), node.decimal("max", highest)
    else:
        low = node.constant_number(1) if node.given(1) else lowest
        high = node.constant_number(2) if node.given(2) else highest
    if low > high:
        raise node.refusal("has its bounds the wrong way round")
    return each(node, partial(torch.clamp, min=low, max=high))


def max_pool(node: Node) -> Value:
    """MaxPool."""
    maps = node.image_maps()
    kernel, strides = node.integers("kernel_shape", None, SIZES), node.integers("strides", [1, 1], SIZES)
    dilations, ceil = node.integers("dilations", [1, 1], SIZES), bool(node.integer("ceil_mode", 0, FLAG))
    node.integer("storage_order", 0, FLAG)
    extent = [dilation * (size - 1) + 1 for dilation, size in zip(dilations, kernel, strict=True)]
    top, bottom, left, right = padding(node, maps.shape[1:], extent, strides)
    pool = partial(functional.max_pool2d, kernel_size=kernel, stride=strides, dilation=dilations, ceil_mode=ceil)
    shape = (2, maps.shape[0], *slid(maps, (top, bottom, left, right), extent, strides, ceil=ceil))
    if (top, left) == (bottom, right):
        return node.result(partial(pool, padding=(top, left)), maps, shape=shape)
    if ceil or max(top, bottom) >= extent[0] or max(left, right) >= extent[1]:
        raise node.refusal("is padded unevenly in a way for which there is no rule")
    # Finite, because the incremental engine takes differences.
    lowest = torch.finfo(torch.float32).min
    padded = node.result(partial(functional.pad, pad=(left, right, top, bottom), value=lowest), maps)
    return node.result(pool, padded, shape=shape)


def average_pool(node: Node) -> Value:
    """AveragePool."""
    maps = node.image_maps()
    kernel, strides = node.integers("kernel_shape", None, SIZES), node.integers("strides", [1, 1], SIZES)
    node.integers("dilations", [1, 1], range(1, 2))
    ceil, counted = bool(node.integer("ceil_mode", 0, FLAG)), bool(node.integer("count_include_pad", 0, FLAG))
    top, bottom, left, right = padding(node, maps.shape[1:], kernel, strides)
    pool = partial(functional.avg_pool2d, kernel_size=kernel, stride=strides, ceil_mode=ceil, count_include_pad=counted)
    shape = (2, maps.shape[0], *slid(maps, (top, bottom, left, right), kernel, strides, ceil=ceil))
    if (top, left) == (bottom, right):
        return node.result(partial(pool, padding=(top, left)), maps, shape=shape)
    if ceil or not counted:
        raise node.refusal("is padded unevenly in a way for which there is no rule")
    padded = node.result(partial(functional.pad, pad=(left, right, top, bottom)), maps)
    return node.result(pool, padded, shape=shape)


def global_average_pool(node: Node) -> Value:
    """GlobalAveragePool."""
    maps = node.image_maps()
    return node.result(lambda full: full.mean((2, 3), keepdim=True), maps, shape=(2, maps.shape[0], 1, 1))


def global_max_pool(node: Node) -> Value:
    """GlobalMaxPool."""
    maps = node.image_maps()
    pool = partial(functional.max_pool2d, kernel_size=maps.shape[1:])
    return node.result(pool, maps, shape=(2, maps.shape[0], 1, 1))


def reduce_mean(node: Node) -> Value:
    """ReduceMean over rows and columns."""
    maps, axes, keep = node.image_maps(), node.axes(), bool(node.integer("keepdims", 1, FLAG))
    node.integer("noop_with_empty_axes", 0, range(1))
    if axes is None or places(node, axes, 4) != [2, 3]:
        raise node.refusal("is a mean over something else than rows and columns")
    shape = (2, maps.shape[0], 1, 1) if keep else (2, maps.shape[0])
    return node.result(lambda full: full.mean((2, 3), keepdim=keep), maps, shape=shape)


def batch_norm(node: Node) -> Value:
    """BatchNormalization with fixed statistics."""
    value = node.builder.plain(node.name, node.maps())
    scale, shift, mean, variance = (node.constant(place) for place in range(1, 5))
    epsilon = node.decimal("epsilon", 1e-5)
    node.decimal("momentum", 0.9)
    node.integer("training_mode", 0, range(1))
    node.integer("spatial", 1, range(1, 2))

    def normalised(full: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return functional.batch_norm(full, mean, variance, scale, shift, training=False, eps=epsilon)

    return node.result(normalised, value, scale, shift, mean, variance, shape=for_two(value))


def softmax(function: Callable[..., Tensor]) -> Rule:
    """Softmax and LogSoftmax of rows."""

    def rule(node: Node) -> Value:
        rows = node.builder.plain(node.name, node.maps())
        axis = node.integer("axis", 1 if node.opset < 13 else -1, AXES)
        if not isinstance(rows, Maps) or len(rows.shape) != 1 or axis not in (1, -1):
            raise node.refusal("is a softmax over something else than the numbers of a row")
        return node.result(lambda full: function(full, dim=1), rows, shape=for_two(rows))

    return rule


def constant(node: Node) -> Value:
    """Constant."""
    kinds = {
        "value": "TENSOR",
        "value_float": "FLOAT",
        "value_floats": "FLOATS",
        "value_int": "INT",
        "value_ints": "INTS",
    }
    name = next(iter(node.attributes), "")
    if name not in kinds:
        raise node.refusal("gives a constant of a kind for which there is no rule")
    found = node.take(name, kinds[name])
    if name == "value":
        return tensor(found)
    return torch.tensor(found if isinstance(found, (int, float)) else list(found))


def identity(node: Node) -> Value:
    """Identity."""
    return node.value(0)


def dropout(node: Node) -> Value:
    """Dropout, which does nothing when a network answers."""
    node.decimal("ratio", 0.5)
    node.integer("seed", 0, ANYTHING)
    if node.given(2) and bool(node.constant(2).any()):
        raise node.refusal("is switched to training")
    return node.value(0)


def cast(node: Node) -> Value:
    """Cast of float32 to itself, and between the types of constants."""
    value, target = node.value(0), node.integer("to", 0, ANYTHING)
    node.integer("saturate", 1, FLAG)
    if isinstance(value, Tensor) and target in (FLOAT, INT64):
        return value.to(torch.float32 if target == FLOAT else torch.int64)
    if target != FLOAT:
        raise node.refusal(f"casts to the type {target} (TensorProto.DataType)")
    return value


RULES: dict[str, Rule] = {
    "Abs": pointwise(torch.abs),
    "Add": arithmetic(torch.add),
    "AveragePool": average_pool,
    "BatchNormalization": batch_norm,
    "Cast": cast,
    "Clip": clip,
    "Concat": concatenation,
    "Constant": constant,
    "Conv": convolution,
    "Div": arithmetic(torch.div),
    "Dropout": dropout,
    "Elu": elu,
    "Erf": pointwise(torch.erf),
    "Exp": pointwise(torch.exp),
    "Flatten": flatten,
    "Gelu": gelu,
    "Gemm": gemm,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": pointwise(functional.hardswish),
    "Identity": identity,
    "LeakyRelu": leaky_relu,
    "LogSoftmax": softmax(torch.log_softmax),
    "MatMul": matrix_product,
    "MaxPool": max_pool,
    "Mul": arithmetic(torch.mul),
    "Neg": pointwise(torch.neg),
    "PRelu": slope_relu,
    "Pad": pad,
    "ReduceMean": reduce_mean,
    "Relu": pointwise(torch.relu),
    "Reshape": reshape,
    "Sigmoid": pointwise(torch.sigmoid),
    "Softmax": softmax(torch.softmax),
    "Softplus": pointwise(functional.softplus),
    "Sqrt": pointwise(torch.sqrt),
    "Squeeze": squeeze,
    "Sub": arithmetic(torch.sub),
    "Tanh": pointwise(torch.tanh),
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
"""By operator."""
