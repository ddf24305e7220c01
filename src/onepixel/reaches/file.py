"""Responses and reaches are values of arrays and facts about them, each kept in one safetensors file."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self, get_args, get_origin

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from onepixel.errors import UndecidedError, UsageError
from onepixel.files import atomic_path


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
        arrays = {name: np.ascontiguousarray(one) for name, one in held.items() if isinstance(one, np.ndarray)}
        about = json.dumps({name: one for name, one in held.items() if name not in arrays})
        content = to_bytes(arrays, {"format": self.FORMAT, "about": about})
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)

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
        if not Path(path).is_file():
            raise UsageError(f"There is no file {path}.")
        try:
            with safe_open(path, "np") as file:
                header = file.metadata() or {}
                if header.get("format") != cls.FORMAT:
                    raise UndecidedError(f"{path} holds no {cls.WHAT}.")
                arrays: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            if any(arrays[name].dtype.kind != dtype.kind for name, dtype in cls._dtypes().items() if name in arrays):
                raise TypeError("an array of other numbers")
            return cls(**arrays, **json.loads(header["about"]))
        except (SafetensorError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise UndecidedError(f"{path} is damaged: it is no complete {cls.WHAT} file.") from error

    @classmethod
    def _dtypes(cls) -> dict[str, np.dtype[Any]]:
        """The types of the arrays' numbers, as the fields are annotated."""
        arrays = {one.name: get_args(one.type) for one in fields(cls) if get_origin(one.type) is np.ndarray}
        return {name: np.dtype(get_args(dtype)[0]) for name, (_, dtype) in arrays.items()}

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
