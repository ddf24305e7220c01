"""Values that are arrays and facts about them, each kept in one safetensors file.

The file's header holds the format with its version, "onepixel-reach-1" say, and the facts as JSON. A file comes from a
stranger as well, so a header's values and the arrays' numbers are those that the fields of the value are annotated
with, or the file is said to be damaged.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_origin

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from onepixel.errors import UndecidedError, UsageError
from onepixel.files import atomic_path
from onepixel.printable import one_line

NUMBERS = (np.signedinteger, np.floating)
"""Kinds of numbers that arrays hold; how many bits each has is up to the file."""

WRONG = (SafetensorError, LookupError, ValueError, TypeError, AttributeError, RuntimeError)
"""What reading ends in where a file is not what it should be; a header that nests without end is a RuntimeError."""


@dataclass(frozen=True)
class ArrayFile:
    """What a file holds.

    Attributes
    ----------
    arrays : dict
        By their names.
    header : dict
        Texts, most of them JSON, by their names.
    """

    arrays: dict[str, NDArray[Any]]
    header: dict[str, str]

    def arrays_of(self, kind: type[Any]) -> dict[str, Any]:
        """The arrays, which hold the kind of numbers that the fields of a dataclass are annotated with.

        Raises
        ------
        TypeError
            If one holds other numbers, or is no field.
        """
        wanted = {one.name: one.type for one in fields(kind)}
        for name, array in self.arrays.items():
            if not holds(array, wanted.get(name)):
                raise TypeError(f"{name} is an array of {array.dtype}")
        return self.arrays

    def facts_of(self, kind: type[Any], entry: str) -> dict[str, Any]:
        """One entry of the header, facts of the types that the fields of a dataclass are annotated with.

        Raises
        ------
        KeyError
            If there is no such entry.
        TypeError
            If it is something else, or a fact is of another type or no field.
        ValueError
            If it is no JSON.
        """
        facts = json.loads(self.header[entry])
        if not isinstance(facts, dict):
            raise TypeError(f"{entry} holds no facts")
        wanted = {one.name: one.type for one in fields(kind)}
        for name, fact in facts.items():
            if not is_a(fact, wanted.get(name)):
                raise TypeError(f"{name} is a {type(fact).__name__}")
        return facts


@contextmanager
def array_file(
    path: str | Path, form: str, name: str, error: type[UndecidedError] = UndecidedError
) -> Iterator[ArrayFile]:
    """Read a file; the block makes a value of it, and what fails there is the file's fault as well.

    Parameters
    ----------
    path : str or Path
    form : str
        The format that the file's header has to name, with its version.
    name : str
        What the file holds, for people.
    error : type
        What a file that is damaged or holds something else is told by.

    Raises
    ------
    UsageError
        If there is no such file.
    UndecidedError
        If the file is damaged, holds something else, or is of another version.
    """
    if not Path(path).is_file():
        raise UsageError(f"There is no file {path}.")
    try:
        with safe_open(path, "np") as file:
            header = file.metadata() or {}
            found = header.get("format", "")
            if found != form:
                raise error(f"{path} holds {what_instead(found, form, name)}.")
            arrays = {one: file.get_tensor(one) for one in file.keys()}  # noqa: SIM118 (not a mapping)
        yield ArrayFile(arrays, header)
    except WRONG as fault:
        raise error(f"{path} is damaged: it is no complete {name} file.") from fault


def write_array_file(path: str | Path, form: str, arrays: Mapping[str, NDArray[Any]], **entries: object) -> None:
    """Write a file, whole or not at all: the arrays and, in its header, the format and entries of JSON types.

    Raises
    ------
    UsageError
        If the file cannot be written.
    """
    header = {"format": form, **{name: json.dumps(entry) for name, entry in entries.items()}}
    content = to_bytes({name: np.ascontiguousarray(array) for name, array in arrays.items()}, header)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)  # not save_file, whose files nobody else may read


def is_array(annotation: object) -> bool:
    """Whether a field is annotated as an array."""
    return get_origin(annotation) is np.ndarray


def holds(array: NDArray[Any], annotation: object) -> bool:
    """Whether an array holds the kind of numbers that a field is annotated with."""
    if not is_array(annotation):
        return False
    (number,) = get_args(get_args(annotation)[1])
    number = get_origin(number) or number
    return any(issubclass(number, kind) and issubclass(array.dtype.type, kind) for kind in NUMBERS)


def is_a(fact: object, annotation: object) -> bool:
    """Whether what JSON held is of the type that a field is annotated with; a whole number is a float as well."""
    kind = get_origin(annotation) or annotation
    return type(fact) is kind or (kind is float and type(fact) is int)


def what_instead(found: str, form: str, name: str) -> str:
    """What a file of another format holds, in words."""
    if found.rpartition("-")[0] != form.rpartition("-")[0]:
        return f"no {name}"
    return f"a {name} of another version: {one_line(found)}, where {form} is read"
