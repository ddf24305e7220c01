"""An ONNX graph as a torch module, so that the incremental engine can look inside it.

The rules of `onnx_operators` know what exporters of image classifiers write, in float32 and with constant shapes;
anything else is not convertible, and ONNX Runtime then answers every image. Why no ready-made converter does this:
`docs/decisions/onnx-graphs-as-modules.md`.
"""

from typing import Any

from onepixel.opening.onnx_module import Builder, GraphModule, NotConvertibleError, Value
from onepixel.opening.onnx_node import Node, tensor
from onepixel.opening.onnx_operators import RULES, Rule
from onepixel.opening.preparation import Layout
from onepixel.printable import one_line

MOST_OPERATIONS = 5_000

OPSETS = range(7, 29)
"""Versions of ONNX's operators whose meaning the rules know; 7 brought today's broadcasting."""

ONNX_DOMAINS = ("", "ai.onnx")


def graph_module(model: Any, layout: Layout, input_name: str, output_name: str) -> GraphModule:
    """Turn a checked `ModelProto` into a module of normalised images (N, C, H, W), whatever layout the graph takes.

    Parameters
    ----------
    model : onnx.ModelProto
        With its weights inside it.
    layout : Layout
        What the graph takes.
    input_name, output_name : str
        Of the one tensor it takes, and of its answers.

    Raises
    ------
    NotConvertibleError
        If the graph holds anything that is not known to mean the same in torch, or too much.
    """
    opsets = [entry.version for entry in model.opset_import if entry.domain in ONNX_DOMAINS]
    if len(opsets) != 1 or opsets[0] not in OPSETS:
        raise NotConvertibleError(f"it uses the versions {opsets} of ONNX's operators")
    if model.functions:
        raise NotConvertibleError("it defines operators of its own")
    nodes = live_nodes(model.graph, output_name)
    if len(nodes) > MOST_OPERATIONS:
        raise NotConvertibleError(f"it has {len(nodes)} operations, more than {MOST_OPERATIONS}")
    builder = Builder(layout.input_shape)
    names = Names(model.graph)
    names.known[input_name] = builder.images.permuted((1, 2, 0)) if layout.channels_last else builder.images
    for number, proto in nodes:
        rule = RULES.get(proto.op_type) if proto.domain in ONNX_DOMAINS else None
        if rule is None:
            raise NotConvertibleError(f"there is no rule for the operator {one_line(proto.op_type, 40)}")
        inputs = [names.value(name) if name else None for name in proto.input]
        node = Node(builder, f"{proto.op_type} {number}", proto, inputs, opsets[0], layout.batch)
        names.give(proto.output[0], converted(rule, node))
    return builder.module(names.value(output_name))


def live_nodes(graph: Any, output_name: str) -> list[tuple[int, Any]]:
    """The nodes that the answers depend on, in the file's order, and their places in it."""
    needed, live = {output_name}, []
    for number, node in reversed(list(enumerate(graph.node))):
        if needed.intersection(node.output):
            needed.update(node.input)
            live.append((number, node))
    return live[::-1]


def converted(rule: Rule, node: Node) -> Value:
    """The first result of a node; results beyond it have no rules, and what uses one does not find it."""
    try:
        result = rule(node)
    except (RuntimeError, IndexError, ValueError, MemoryError) as error:
        raise NotConvertibleError(f"{node.name} does not fit its inputs ({one_line(error, 120)})") from error
    node.require_all_understood()
    return result


class Names:
    """What the names of a graph stand for; its weights become tensors when they are first used."""

    def __init__(self, graph: Any) -> None:
        self.weights = {tensor.name: tensor for tensor in graph.initializer}
        self.known: dict[str, Value] = {}

    def value(self, name: str) -> Value:
        """What a name stands for."""
        if name not in self.known and name in self.weights:
            self.known[name] = tensor(self.weights[name])
        if name not in self.known:
            raise NotConvertibleError(f"it uses {one_line(name, 40)!r} before anything gives it")
        return self.known[name]

    def give(self, name: str, value: Value) -> None:
        """Let a name stand for a result."""
        if name in self.known or name in self.weights:
            raise NotConvertibleError(f"it gives the name {one_line(name, 40)!r} twice")
        self.known[name] = value
