"""The translation of one trace: which map is whose, and what every rule may ask and add."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx

from onepixel.signatures.incremental.convolution import Pair
from onepixel.signatures.incremental.fusion import fuse
from onepixel.signatures.incremental.program import Program
from onepixel.signatures.incremental.steps import Shape, Step
from onepixel.signatures.incremental.tracing import NotIncrementalError, Trace

Rule = Callable[["Lowering", fx.Node], None]
"""What translates one operator."""


class Lowering:
    """One translation; the maps get numbers, several nodes may share one (a reshaped or shifted map)."""

    def __init__(self, trace: Trace, dtype: torch.dtype, rules: Mapping[Any, Rule]) -> None:
        self.rules = rules
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
        rule = self.rules.get(node.target)
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
