"""Responses and reaches are values of arrays and facts about them, each kept in one safetensors file."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from onepixel.array_files import array_file, write_array_file
from onepixel.errors import UsageError


@dataclass(frozen=True)
class KeptInFile:
    """What fields of arrays and of JSON types share: one file, and a check of the arrays' shapes.

    Attributes
    ----------
    FORMAT : str
        What the file's header calls its format.
    WHAT : str
        The value's name for people.
    """

    FORMAT: ClassVar[str]
    WHAT: ClassVar[str]

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, whole or not at all: the arrays and, in its header, everything else."""
        held = {one.name: getattr(self, one.name) for one in fields(self)}
        arrays = {name: one for name, one in held.items() if isinstance(one, np.ndarray)}
        about = {name: one for name, one in held.items() if name not in arrays}
        write_array_file(path, self.FORMAT, arrays, about=about)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        UsageError
            If there is no such file.
        UndecidedError
            If the file is damaged or holds something else.
        """
        with array_file(path, cls.FORMAT, cls.WHAT) as file:
            return cls(**file.arrays_of(cls), **file.facts_of(cls, "about"))

    def expect(self, name: str, *sizes: int | None) -> None:
        """Check the shape of one array; None stands for any size.

        Raises
        ------
        UsageError
            If it is another one.
        """
        shape = getattr(self, name).shape
        if len(shape) != len(sizes) or any(size not in (None, own) for size, own in zip(sizes, shape, strict=True)):
            wanted = ", ".join("any" if size is None else str(size) for size in sizes)
            raise UsageError(f"Expected {name} of shape ({wanted}) in a {self.WHAT} but got {shape}.")
