"""Pooling and means over positions."""

from typing import Any

import torch
from torch import Tensor, fx

from onepixel.signatures.incremental.lowering.translation import Lowering, Rule, pair, parameter
from onepixel.signatures.incremental.nonlinear_steps import Nonlinear, Pool
from onepixel.signatures.incremental.steps import Average

aten = torch.ops.aten


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


RULES: dict[Any, Rule] = {
    aten.max_pool2d_with_indices.default: max_pool,
    aten.max_pool2d.default: max_pool,
    aten.avg_pool2d.default: average_pool,
    aten._adaptive_avg_pool2d.default: adaptive_average_pool,
    aten.mean.dim: spatial_mean,
    aten.sum.dim_IntList: spatial_mean,
}
