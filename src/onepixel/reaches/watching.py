"""What a module does while it answers, seen from torch's operators: what they take, write and draw.

Layers tell of themselves only where they are modules; operators are seen as well where a function, a graph or a
program calls them.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CONVOLUTIONS = ("conv2d", "convolution", "_convolution")


class Watch(TorchDispatchMode):
    """Sees torch's operators while it is entered.

    Attributes
    ----------
    one_channel : bool
        Whether a convolution took maps of one channel. With channels side by side, torch 2.14 answers some of them
        (2 x 3 weights, strides of 1 and 2, on 9 x 4 pixels) with what happens to be in memory.
    keeps_to_itself : bool
        Whether all that was written to was made meanwhile, and nothing was drawn by chance. Where it is not, threads
        that share buffers or the generator of random numbers would disturb each other.
    decides : bool
        Whether a number became Python's, as it does where the way that an answer is made depends on the image: other
        images may be answered otherwise than was seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.one_channel = self.decides = False
        self.keeps_to_itself = True
        self.counted: Counter[int] = Counter()
        self.made: set[int] = set()
        # Kept, so that their memory is handed out to nothing else meanwhile.
        self.found: list[Tensor] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Tell torch not to import its compiler for the sake of keeping it away from here."""
        return False

    def uses_of(self, tensor: Tensor) -> int:
        """How many operators took a tensor, or a view of it."""
        return self.counted[place_of(tensor)]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operator and note what it does."""
        kwargs = kwargs or {}
        taken = list(tensors_in((args, kwargs)))
        self.found += [tensor for tensor in taken if place_of(tensor) not in self.made]
        self.counted.update({place_of(tensor) for tensor in taken})
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.keeps_to_itself = False
        if torch.Tag.data_dependent_output in func.tags:
            self.decides = True
        if any(place_of(tensor) not in self.made for tensor in written(func, args, kwargs)):
            self.keeps_to_itself = False
        if func.overloadpacket.__name__ in CONVOLUTIONS and args[0].shape[1] == 1:
            self.one_channel = True
        answers = func(*args, **kwargs)
        self.made |= {place_of(tensor) for tensor in tensors_in(answers)} - {place_of(one) for one in self.found}
        return answers


def place_of(tensor: Tensor) -> int:
    """Where a tensor lies in memory; its views lie there as well."""
    return tensor.untyped_storage().data_ptr()


def tensors_in(values: Any) -> Iterator[Tensor]:
    """The tensors among an operator's arguments or answers."""
    return (leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor))


def written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    """The tensors that an operator says it writes to."""
    for number, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            yield from tensors_in(args[number] if number < len(args) else kwargs.get(argument.name))
