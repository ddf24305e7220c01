"""A whole pickled network as data: its tensors and the settings of its layers, and the network rebuilt where it can be.

`torch.save(model)` writes the tree of the network's parts: for each its class by name, its own attributes, and under
`_parameters`, `_buffers` and `_modules` what it holds. That tree is read without a single class being imported. A
network is rebuilt from it only out of classes that are installed here anyway and that we fetch by a table of our own.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from onepixel.opening.inert import Built, Named, PickleError
from onepixel.opening.plain_layers import PLAIN_LAYERS, plain_layer

WRAPPERS = {
    "torch.nn.parallel.data_parallel.DataParallel": "module",
    "torch.nn.parallel.distributed.DistributedDataParallel": "module",
    "torch._dynamo.eval_frame.OptimizedModule": "_orig_mod",
    "torch.optim.swa_utils.AveragedModel": "module",
}
SEQUENTIAL = "torch.nn.modules.container.Sequential"
MOST_PARTS = 100_000
DEEPEST = 100


@dataclass(frozen=True)
class Part:
    """One part of a pickled network.

    Attributes
    ----------
    kind : str
        The dotted name of its class.
    settings : dict
        Its attributes.
    tensors : dict of str to Tensor
        What is its own: parameters, and buffers that a state dict would hold.
    parts : dict of str to Part
    hooked : bool
        Whether functions were attached that change what it computes.
    """

    kind: str
    settings: dict[str, object]
    tensors: dict[str, Tensor]
    parts: dict[str, "Part"]
    hooked: bool

    @property
    def class_name(self) -> str:
        """The class without its module."""
        return self.kind.rpartition(".")[2]

    def state_dict(self) -> dict[str, Tensor]:
        """Every tensor by its name, as the network's own `state_dict()` would list them."""
        return {f"{path}{name}": tensor for path, part in self.walk() for name, tensor in part.tensors.items()}

    def walk(self, path: str = "") -> Iterator[tuple[str, "Part"]]:
        """Every part with its path ("" or "features.0."), this one first."""
        yield path, self
        for name, part in self.parts.items():
            yield from part.walk(f"{path}{name}.")

    def unwrapped(self) -> "Part":
        """The network itself, without what parallel training, compiling or averaging put around it."""
        part = self
        while part.kind in WRAPPERS and WRAPPERS[part.kind] in part.parts:
            part = part.parts[WRAPPERS[part.kind]]
        return part


def is_module(found: object) -> bool:
    """Whether a record is that of a network, or of a part of one."""
    return isinstance(found, Built) and isinstance(found.state, dict) and "_modules" in found.state


def inside_call(found: object) -> object:
    """The network that a wrapper was called with, as torch.compile pickles what it compiled; else what it is."""
    if isinstance(found, Built) and isinstance(found.of, Named) and str(found.of) in WRAPPERS and found.arguments:
        return found.arguments[0] if is_module(found.arguments[0]) else found
    return found


def module_tree(found: Built) -> Part:
    """The tree of a pickled network.

    Raises
    ------
    PickleError
        If it is too deep or too large, or contains itself.
    """
    left = [MOST_PARTS]

    def part(record: Built, depth: int) -> Part:
        left[0] -= 1
        if depth > DEEPEST or left[0] < 0:
            raise PickleError("the pickled network has too many parts")
        state: dict[Any, Any] = record.state if isinstance(record.state, dict) else {}
        passing = set(map(str, listed(state.get("_non_persistent_buffers_set"))))
        buffers = {name: tensor for name, tensor in pairs(state.get("_buffers")) if name not in passing}
        own = {**dict(pairs(state.get("_parameters"))), **buffers}
        return Part(
            kind=str(record.of) if isinstance(record.of, Named) else "something without a name",
            settings={name: value for name, value in state.items() if isinstance(name, str) and name[:1] != "_"},
            tensors={name: tensor for name, tensor in own.items() if isinstance(tensor, Tensor)},
            parts={
                name: part(inner, depth + 1)
                for name, inner in pairs(state.get("_modules"))
                if isinstance(inner, Built) and is_module(inner)
            },
            hooked=any(state.get(hooks) not in ({}, None) for hooks in ("_forward_hooks", "_forward_pre_hooks")),
        )

    return part(found, 0)


def pairs(found: object) -> list[tuple[str, object]]:
    """The pairs of a dictionary whose keys are texts."""
    if isinstance(found, Built):
        found = found.pairs
    return [(key, value) for key, value in found.items() if isinstance(key, str)] if isinstance(found, dict) else []


def listed(found: object) -> list[object]:
    """The items of a list."""
    return found if isinstance(found, list) else []


def plain_sequence(part: Part, depth: int = 0) -> nn.Module | None:
    """A network without its weights, if it consists of plain layers of torch.nn one after the other; else None."""
    if part.hooked or depth > DEEPEST:
        return None
    if part.kind == SEQUENTIAL:
        inner = [plain_sequence(each, depth + 1) for each in part.parts.values()]
        if not inner or any(each is None for each in inner):
            return None
        made = nn.Sequential()
        for name, each in zip(part.parts, inner, strict=True):
            made.add_module(name, each)
        return made
    return plain_layer(part.kind, part.settings, part.tensors)


def like(part: Part, build: Callable[[], nn.Module]) -> nn.Module | None:
    """A known network with exactly these parts, without its weights; None if this is another one.

    Plain layers of torch.nn that differ (another number of classes, kernel or activation) are rebuilt from their
    settings; any other part has to be of the same class, with the same settings and children.
    """
    module = build()
    return module if matched(part, module) else None


def matched(part: Part, module: nn.Module, depth: int = 0) -> bool:
    """Make a module's plain layers those of a pickled network; whether everything else is the same."""
    kind = f"{type(module).__module__}.{type(module).__name__}"
    if kind != part.kind or part.hooked or depth > DEEPEST:
        return False
    children = dict(module.named_children())
    # Parts that are None were not written; the same are None here.
    if list(children) != list(part.parts) or not same_settings(part, module):
        return False
    for name, inner in part.parts.items():
        if inner.kind in PLAIN_LAYERS or inner.kind == SEQUENTIAL:
            made = plain_sequence(inner, depth + 1)
            if made is not None:
                setattr(module, name, made)
                continue
        if not matched(inner, children[name], depth + 1):
            return False
    own = {name: tuple(tensor.shape) for name, tensor in part.tensors.items()}
    names = [name for name, tensor in (*module._parameters.items(), *module._buffers.items()) if tensor is not None]
    return set(own) == {name for name in names if name not in module._non_persistent_buffers_set}


def same_settings(part: Part, module: nn.Module) -> bool:
    """Whether every plain setting that both have is the same."""
    if part.kind in PLAIN_LAYERS or part.kind == SEQUENTIAL:
        return True
    mine = {name: value for name, value in vars(module).items() if is_plain(value)}
    theirs = {name: value for name, value in part.settings.items() if is_plain(value)}
    common = (mine.keys() & theirs.keys()) - {"training"} - FREE_SETTINGS
    return all(mine[name] == theirs[name] for name in common)


FREE_SETTINGS = {"num_classes", "num_features", "inplanes", "drop_rate"}
"""Settings that a network keeps to remember, or that count in training only."""


def is_plain(value: object) -> bool:
    """Whether a setting can be compared: a number, a text, or some of them."""
    return isinstance(value, bool | int | float | str) or (
        isinstance(value, tuple) and all(isinstance(each, bool | int | float | str) for each in value)
    )
