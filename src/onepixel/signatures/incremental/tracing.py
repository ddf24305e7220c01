"""What a module computes, as a list of ATen operators (`torch.fx`), and the default image's value at every one of them.

The module runs once, and torch's dispatcher hands every operator to a recorder, so functions, methods and submodules
all end in the same small vocabulary, in-place operators become ordinary ones, and a branch on the data is an error.
torch's own `make_fx` does the same but imports torch's compilers first, which takes longer than a small signature.
"""

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode

from onepixel.classifiers import ModuleClassifier
from onepixel.classifiers.module import evaluating
from onepixel.starting import with_shapes

REPEAT_TOLERANCE = 1e-3


class NotIncrementalError(Exception):
    """The incremental engine cannot prove that it may run this module; the text is the reason."""


@dataclass(frozen=True)
class Trace:
    """The operators of one forward pass and what they gave.

    Attributes
    ----------
    recorded : torch.fx.GraphModule
        The operators in the order of execution; the one placeholder is the prepared image.
    values : dict
        Every node's value on the default images and, last, noise, in float64 where torch allows it.
    varying : frozenset of torch.fx.Node
        The nodes whose value depends on the image.
    output : torch.fx.Node
        The answers.
    labels : dict
        What people call a node: the layer whose parameters it uses.
    """

    recorded: fx.GraphModule
    values: dict[fx.Node, Any]
    varying: frozenset[fx.Node]
    output: fx.Node
    labels: dict[fx.Node, str]

    @property
    def nodes(self) -> tuple[fx.Node, ...]:
        """All nodes, the image first."""
        return tuple(self.recorded.graph.nodes)


def trace(classifier: ModuleClassifier, default_images: Tensor) -> Trace:
    """Record the module's operators on the default images (M, C, H, W) and on noise.

    Raises
    ------
    NotIncrementalError
        If torch cannot trace the module, or the operators it recorded do not repeat the module's answers.
    """
    shape = default_images.shape[1:]
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    images = torch.cat([default_images, noise.to(default_images)[None]])
    prepared = classifier.prepare(images)
    recorded = record(classifier.module, prepared)
    values = interpret(recorded, prepared)
    output = next(node for node in recorded.graph.nodes if node.op == "output").args[0]
    expected = classifier(images)
    difference = float((values[output] - expected).abs().max())
    if not difference <= REPEAT_TOLERANCE * (1 + float(expected.abs().max())):
        raise NotIncrementalError("its traced operators do not repeat its answers")
    varying = dependents(recorded)
    return Trace(recorded, values, varying, output, label_nodes(recorded, classifier.module))


def record(module: nn.Module, prepared: Tensor) -> fx.GraphModule:
    """The module in eval mode as a graph of ATen operators without in-place ones."""

    def recorded() -> fx.GraphModule:
        image = prepared.clone()
        recorder = Recorder(image)
        functional = torch.func.functionalize(lambda images: module(images))
        with recorder:
            answers = functional(image)
        return recorder.finished(answers)

    try:
        with evaluating(module), torch.inference_mode(False), torch.no_grad():
            return with_shapes(recorded)
    except NotIncrementalError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise NotIncrementalError(f"torch cannot trace it ({reason})") from error


class Recorder(TorchDispatchMode):
    """Writes the operators that torch dispatches into a graph whose one placeholder is the image.

    Parameters
    ----------
    image : Tensor
        The batch that the module is about to be asked.
    """

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.graph = fx.Graph()
        self.constants = nn.Module()
        self.nodes: dict[int, fx.Node] = {}
        # A tensor is known by its address, so none may go before the recording ends.
        self.kept: list[Tensor] = []
        self.varying: set[fx.Node] = set()
        self.know(image, self.graph.placeholder("image"))
        self.varying.add(self.node(image))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Tell torch not to import its compiler for the sake of keeping it away from here."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator and write it down."""
        named = dict(kwargs or {})
        result = func(*args, **named)
        arguments, keywords = fx.node.map_aggregate((args, named), self.node)
        node = self.graph.call_function(func, arguments, keywords)
        if self.varying.intersection(node.all_input_nodes):
            self.varying.add(node)
        results = result if isinstance(result, (tuple, list)) else (result,)
        if not any(isinstance(part, Tensor) for part in results):
            if node in self.varying:
                raise NotIncrementalError("torch cannot trace it: it turns numbers of the image into a decision")
            self.graph.erase_node(node)
            return result
        for place, part in enumerate(results):
            if part is result:
                self.know(part, node)
            elif isinstance(part, Tensor):
                self.know(part, self.graph.call_function(operator.getitem, (node, place)))
        return result

    def know(self, tensor: Tensor, node: fx.Node) -> None:
        """Let a tensor be known as the result of a node."""
        self.kept.append(tensor)
        self.nodes[id(tensor)] = node

    def node(self, value: Any) -> Any:
        """The node of a tensor, new for a constant that was not seen before; anything else as it is."""
        if not isinstance(value, Tensor):
            return value
        if id(value) not in self.nodes:
            name = f"constant{len(self.kept)}"
            self.constants.register_buffer(name, value)
            self.know(value, self.graph.get_attr(name))
        return self.nodes[id(value)]

    def finished(self, answers: Any) -> fx.GraphModule:
        """Everything that was recorded.

        Raises
        ------
        NotIncrementalError
            If the module does not answer with one tensor.
        """
        if not isinstance(answers, Tensor):
            raise NotIncrementalError("the module answers with more than one tensor")
        self.graph.output(self.node(answers))
        return fx.GraphModule(self.constants, self.graph)


def interpret(recorded: fx.GraphModule, prepared: Tensor) -> dict[fx.Node, Any]:
    """Every node's value; float64 makes the base maps as good as exact for a float32 module."""
    try:
        return run_nodes(recorded, prepared, torch.float64)
    except (RuntimeError, TypeError):
        return run_nodes(recorded, prepared, prepared.dtype)


def run_nodes(recorded: fx.GraphModule, prepared: Tensor, dtype: torch.dtype) -> dict[fx.Node, Any]:
    """Execute the graph node by node in the given floating type."""

    def lift(value: Any) -> Any:
        return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value

    values: dict[fx.Node, Any] = {}
    with torch.no_grad():
        for node in recorded.graph.nodes:
            if node.op == "placeholder":
                values[node] = lift(prepared)
            elif node.op == "get_attr":
                values[node] = lift(getattr(recorded, node.target).detach())
            elif node.op == "call_function":
                arguments = fx.map_arg((node.args, node.kwargs), values.__getitem__)
                values[node] = node.target(*arguments[0], **arguments[1])
    return values


def dependents(recorded: fx.GraphModule) -> frozenset[fx.Node]:
    """The image and every node that depends on it."""
    found: set[fx.Node] = set()
    for node in recorded.graph.nodes:
        if node.op == "placeholder" or any(source in found for source in node.all_input_nodes):
            found.add(node)
    return frozenset(found)


def label_nodes(recorded: fx.GraphModule, module: nn.Module) -> dict[fx.Node, str]:
    """Call a node by the layer whose parameter it uses, else by its operator and the layer before it."""
    owners = {id(parameter): name.rpartition(".")[0] for name, parameter in module.named_parameters()}
    labels: dict[fx.Node, str] = {}
    latest = "the image"
    for node in recorded.graph.nodes:
        attributes = [source for source in node.all_input_nodes if source.op == "get_attr"]
        named = [owners.get(id(getattr(recorded, source.target)), "") for source in attributes]
        layer = next((name for name in named if name), "")
        kind = node.target.overloadpacket.__name__ if isinstance(node.target, torch._ops.OpOverload) else node.name
        labels[node] = f"{layer} ({kind})" if layer else f"{kind} after {latest}"
        latest = layer or latest
    return labels
