"""The torch module that an ONNX graph becomes: operations on the results of earlier ones, built one by one.

Nothing is computed before its size is known: results are inferred on torch's meta device, and their numbers add up
to a limit.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from onepixel.starting import with_shapes

MOST_NUMBERS = 2**26
"""Of all results for one image together; the incremental engine keeps two images' in float64."""


class NotConvertibleError(Exception):
    """A graph that does not become a torch module; the text is the reason."""


@dataclass(frozen=True)
class Maps:
    """A value that depends on the image: a result of the module, perhaps seen in another shape or order.

    Attributes
    ----------
    number : int
        Which result; 0 is the batch of images (N, C, H, W).
    stored : tuple of int
        The result's shape for one image.
    shape : tuple of int
        The value's own shape for one image.
    order : Tensor or None
        Where each number of the value lies in the result, both flattened; None where they agree.
    """

    number: int
    stored: tuple[int, ...]
    shape: tuple[int, ...]
    order: Tensor | None = None

    @property
    def numbers(self) -> int:
        """How many there are for one image."""
        return math.prod(self.shape)

    def permuted(self, axes: tuple[int, ...]) -> "Maps":
        """The axes of one image in another order."""
        straight = torch.arange(self.numbers)
        order = (straight if self.order is None else self.order).reshape(self.shape).permute(axes).flatten()
        shape = tuple(self.shape[axis] for axis in axes)
        return replace(self, shape=shape, order=None if torch.equal(order, straight) else order)


Value = Maps | Tensor
"""Something that depends on the image, or a constant."""


class Operation(nn.Module):
    """A function of earlier results and constants; the constants are parameters, so that the operation has a name."""

    def __init__(self, function: Callable[..., Tensor], arguments: tuple[Value, ...]) -> None:
        super().__init__()
        self.function = function
        self.sources = tuple(argument.number if isinstance(argument, Maps) else None for argument in arguments)
        for place, argument in enumerate(arguments):
            if isinstance(argument, Tensor):
                self.register_parameter(f"constant{place}", nn.Parameter(argument, requires_grad=False))

    def forward(self, results: dict[int, Tensor]) -> Tensor:
        """Apply it."""
        return self.function(
            *(
                getattr(self, f"constant{place}") if source is None else results[source]
                for place, source in enumerate(self.sources)
            )
        )


class GraphModule(nn.Module):
    """Operations by name, in order, from images (N, C, H, W) to answers (N, K)."""

    def __init__(self, operations: dict[str, Operation], answer: int) -> None:
        super().__init__()
        self.answer = answer
        self.last_use: dict[int, str] = {}
        for name, operation in operations.items():
            self.add_module(name, operation)
            self.last_use |= {source: name for source in operation.sources if source is not None}

    def forward(self, images: Tensor) -> Tensor:
        """Answer images as they are after normalisation; results are dropped after their last use."""
        results = {0: images}
        for number, (name, operation) in enumerate(self.named_children(), 1):
            assert isinstance(operation, Operation)
            results[number] = operation(results)
            for source in set(results) & set(operation.sources):
                if self.last_use[source] == name and source != self.answer:
                    del results[source]
        return results[self.answer]


class Builder:
    """A module on its way."""

    def __init__(self, input_shape: tuple[int, int, int]) -> None:
        self.images = Maps(0, input_shape, input_shape)
        self.operations: dict[str, Operation] = {}
        self.spent = 0

    def add(
        self, name: str, function: Callable[..., Tensor], *arguments: Value, shape: tuple[int, ...] | None = None
    ) -> Value:
        """What a function gives for stored results and constants; for constants alone it is computed at once.

        `shape` is that of the result for two images, where it is known: torch's meta device imports torch's compiler to
        tell the shape of a convolution, which takes longer than a small signature.

        Raises
        ------
        NotConvertibleError
            If it computes in another type than float32, mixes images, or gives too much.
        """
        if any(argument.dtype != torch.float32 for argument in arguments if isinstance(argument, Tensor)):
            raise NotConvertibleError(f"{name} computes in another type than float32")
        shapes = [(2, *a.stored) if isinstance(a, Maps) else tuple(a.shape) for a in arguments]
        with torch.no_grad():
            if shape is None:
                shape = tuple(
                    with_shapes(lambda: function(*(torch.empty(each, device="meta") for each in shapes))).shape
                )
            self.spend(math.prod(shape))
            constants = [argument for argument in arguments if isinstance(argument, Tensor)]
            if len(constants) == len(arguments):
                return function(*constants)
        if len(shape) < 2 or shape[0] != 2 or min(shape) < 1:
            raise NotConvertibleError(f"{name} gives results of shape {shape} for two images")
        unique = name if name not in self.operations else f"{name} ({len(self.operations)})"
        self.operations[unique] = Operation(function, arguments)
        return Maps(len(self.operations), shape[1:], shape[1:])

    def spend(self, numbers: int) -> None:
        """Count numbers that the module holds for two images, or as constants."""
        self.spent += numbers
        if self.spent > 2 * MOST_NUMBERS:
            raise NotConvertibleError(f"it makes more than {MOST_NUMBERS} numbers out of one image")

    def plain(self, name: str, value: Value) -> Value:
        """The same numbers as a result of just that shape; constants as they are.

        Raises
        ------
        NotConvertibleError
            If they are in another order than they were computed in: the incremental engine has no rule for that.
        """
        if isinstance(value, Tensor) or (value.order is None and value.stored == value.shape):
            return value
        if value.order is not None:
            raise NotConvertibleError(f"{name} takes numbers in another order than they were computed in")
        shape = value.shape
        return self.add(name, lambda full: full.reshape(-1, *shape), value)

    def module(self, answers: Value) -> GraphModule:
        """Everything that was added.

        Raises
        ------
        NotConvertibleError
            If the answers are not (N, K).
        """
        found = self.plain("the last operation", answers)
        if not isinstance(found, Maps) or len(found.shape) != 1:
            raise NotConvertibleError("its answers are not one row of numbers per image")
        return GraphModule(self.operations, found.number)
