"""Safetensors weights in several files, which an index lists: `model.safetensors.index.json`."""

import json
from pathlib import Path, PurePosixPath

from torch import Tensor

from onepixel.errors import ModelFileError
from onepixel.opening.limits import Limits
from onepixel.printable import escaped, one_line

LARGEST_INDEX = 2**26
MOST_SHARDS = 10_000


def shards(index: Path, limits: Limits) -> dict[str, list[str]]:
    """The names of the tensors in each file that an index lists, all of them in the index's own folder.

    Raises
    ------
    ModelFileError
        If the index is damaged, names a file outside its folder or one that is not there, or all are too large.
    """
    try:
        found = json.loads(index.read_bytes()) if index.stat().st_size <= LARGEST_INDEX else None
        places = found["weight_map"] if isinstance(found, dict) else {}
    except (ValueError, KeyError, RecursionError, OSError) as error:
        raise ModelFileError(f"{escaped(index.name)} is damaged: it is no index of weights.") from error
    if not isinstance(places, dict) or not places or not all(isinstance(each, str) for each in places.values()):
        raise ModelFileError(f"{escaped(index.name)} is damaged: it is no index of weights.")
    listed: dict[str, list[str]] = {}
    for name, file in places.items():
        listed.setdefault(file, []).append(name)
    if len(listed) > MOST_SHARDS:
        raise ModelFileError(f"{escaped(index.name)} lists more than {MOST_SHARDS} files.")
    total = 0
    for file in listed:
        shown = one_line(file, 80)
        if PurePosixPath(file).parts != (file,) or file in ("", "..", ".") or "\\" in file or "\x00" in file:
            raise ModelFileError(
                f"{escaped(index.name)} keeps weights in {shown!r}, outside its own folder; that is refused."
            )
        if not (index.parent / file).is_file():
            raise ModelFileError(f"{escaped(index.name)} keeps weights in {shown!r}, which is not there.")
        total += (index.parent / file).stat().st_size
    if total > limits.file_bytes:
        raise ModelFileError(
            f"The weights have {total} bytes together, more than the {limits.file_bytes} that are allowed."
        )
    return listed


def read_shards(index: Path, limits: Limits) -> dict[str, Tensor]:
    """All tensors that an index lists.

    Raises
    ------
    ModelFileError
        As `shards`, or if a file lacks a tensor.
    """
    from safetensors.torch import load_file

    tensors: dict[str, Tensor] = {}
    for file, names in shards(index, limits).items():
        held = load_file(index.parent / file)
        missing = [name for name in names if name not in held]
        if missing:
            raise ModelFileError(
                f"{one_line(file, 80)} lacks {one_line(missing[0], 80)}, which the index says it holds."
            )
        tensors |= {name: held[name] for name in names}
    return tensors
