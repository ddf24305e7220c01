"""Arrays with a header in one safetensors file: how responses and reaches are kept."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from onepixel.errors import UndecidedError, UsageError
from onepixel.files import atomic_path

Value = TypeVar("Value")


def write_arrays(path: str | Path, form: str, arrays: Mapping[str, NDArray[np.generic]], about: str) -> None:
    """Write arrays, and a JSON text about them, whole or not at all."""
    content = to_bytes(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()}, {"format": form, "about": about}
    )
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def read_arrays(path: str | Path, form: str, what: str, make: Callable[[dict[str, Any], str], Value]) -> Value:
    """Read what `write_arrays` wrote and make a value of it.

    Raises
    ------
    UsageError
        If there is no such file.
    UndecidedError
        If it is damaged or of another format.
    """
    if not Path(path).is_file():
        raise UsageError(f"There is no file {path}.")
    try:
        with safe_open(path, "np") as file:
            header = file.metadata() or {}
            if header.get("format") != form:
                raise UndecidedError(f"{path} holds no {what}.")
            arrays: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        return make(arrays, header["about"])
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise UndecidedError(f"{path} is damaged: it is no complete {what} file.") from error
