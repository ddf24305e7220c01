"""Finding the weights in whatever a checkpoint holds besides: under any name, any number of levels deep."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from torch import Tensor

from onepixel.errors import ModelFileError, UsageError
from onepixel.opening.inert import Built
from onepixel.opening.pickled_module import Part, inside_call, is_module, module_tree
from onepixel.printable import one_line

DEEPEST = 8
MOST_PLACES = 100_000
MOST_SHOWN = 8
NO_NETWORKS = ("optim", "scheduler", "scaler", "rng", "sampler")
"""How names begin or end under which trainers keep tensors that belong to no network."""


@dataclass(frozen=True)
class Weights:
    """One set of weights in a file.

    Attributes
    ----------
    key : str
        Where it lies, such as "ema.state_dict"; "" if it is all the file holds.
    tensors : dict of str to Tensor
    network : Part or None
        The pickled network that the tensors belong to, if it came with them.
    ignored : int
        How many entries beside the tensors are no tensors.
    """

    key: str
    tensors: dict[str, Tensor]
    network: Part | None = None
    ignored: int = 0

    @property
    def words(self) -> str:
        """One line for people."""
        what = f"a whole network ({self.network.class_name})" if self.network else f"{len(self.tensors)} tensors"
        return f"{one_line(self.key, 60) or 'the whole file'}: {what}"


def find_weights(content: object) -> list[Weights]:
    """Every set of weights in a file's content, outermost first; optimizers and their like are left out."""
    found: list[Weights] = []
    seen: set[int] = set()
    left = [MOST_PLACES]

    def visit(node: object, key: str, depth: int) -> bool:
        left[0] -= 1
        if depth > DEEPEST or id(node) in seen or left[0] < 0:
            return False
        node = inside_call(node)
        if is_module(node):
            assert isinstance(node, Built)
            seen.add(id(node))
            network = module_tree(node).unwrapped()
            found.append(Weights(key, network.state_dict(), network))
            return True
        entries = entries_of(node)
        if entries is None:
            return False
        seen.add(id(node))
        inside = False
        for name, value in entries.items():
            if not isinstance(value, Tensor) and belongs_to_a_network(name):
                inside |= visit(value, f"{key}.{name}" if key else str(name), depth + 1)
        tensors = {
            name: value for name, value in entries.items() if isinstance(name, str) and isinstance(value, Tensor)
        }
        if inside or not tensors or 2 * len(tensors) < len(entries) or {"state", "param_groups"} <= entries.keys():
            return inside
        found.append(Weights(key, tensors, None, len(entries) - len(tensors)))
        return True

    visit(content, "", 0)
    return sorted(found, key=lambda weights: weights.key.count("."))


def entries_of(node: object) -> Mapping[Hashable, object] | None:
    """What a container holds, by name or number."""
    if isinstance(node, Built):
        attributes = node.state if isinstance(node.state, dict) else {}
        return {**attributes, **node.pairs}
    if isinstance(node, dict):
        return node
    if isinstance(node, list | tuple):
        return dict(enumerate(node[:64]))
    return None


def belongs_to_a_network(name: Hashable) -> bool:
    """Whether something under this name can be the weights of a network."""
    words = str(name).lower()
    return not any(words.startswith(word) or words.endswith(word) for word in NO_NETWORKS)


def choose_weights(found: list[Weights], key: str | None, name: str) -> Weights:
    """The one set of weights, or the one that the user named.

    Raises
    ------
    ModelFileError
        If there are none.
    UsageError
        If there are several and the user named none, or none of that name.
    """
    if not found:
        raise ModelFileError(f"{name} holds no state dict (a mapping from names to tensors) and no network.")
    listed = "; ".join(weights.words for weights in found[:MOST_SHOWN])
    if key is not None:
        for weights in found:
            if weights.key == key:
                return weights
            named = f"{key.removeprefix(f'{weights.key}.')}." if weights.key else f"{key}."
            own = {name.removeprefix(named): own for name, own in weights.tensors.items() if name.startswith(named)}
            if own:  # several networks in one set of weights, each under a beginning of its own
                return Weights(key, own)
        raise UsageError(f"{name} holds no weights under {key!r}; it holds {listed}.")
    if len(found) > 1:
        raise UsageError(f"{name} holds several sets of weights ({listed}); say which with --key NAME.")
    return found[0]
