"""What `torch.save` writes, of any age, read as data: tensors, plain containers, and records of everything else.

Since version 1.6 a file is a zip archive of one pickle (data.pkl) and one entry per storage; before, it was four
pickles and the storages one after the other. Every size is compared with what the file holds before memory is taken.
"""

import math
import re
import zipfile
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from onepixel.opening.inert import Built, InertReader, Named, PickleError, put_pairs

STORAGE_TYPES: dict[str, torch.dtype] = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}
MOST_DIMENSIONS = 16
MOST_REPEATED = 2**20
NUMPY_KINDS = "biufc"
PLAIN_TYPE = re.compile(r"[<>|=]?[a-zA-Z?][0-9]{0,2}")
BYTE_ORDERS = ("<", ">", "|", "=")


@dataclass(frozen=True)
class Loaded:
    """What a file holds.

    Attributes
    ----------
    content : object
        Containers, scalars and tensors; `Named` and `Built` for everything else.
    skipped : dict of str to int
        What the file names besides, and how often it would have been called.
    """

    content: object
    skipped: dict[str, int]


def read_torch_file(file: BinaryIO) -> Loaded:
    """Read a file that `torch.save` made, of any age.

    Raises
    ------
    PickleError
        If it is none, or asks for more than it holds.
    """
    if zipfile.is_zipfile(file):
        return read_archive(file)
    return read_legacy(file)


def read_archive(file: BinaryIO) -> Loaded:
    """Read a zip archive; PyTorch since 1.6."""
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if len(names) != 1:
            raise PickleError("the archive holds no data.pkl, or several")
        folder = names[0].removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in archive.namelist() and archive.read(order).strip() not in (b"little", b""):
            raise PickleError("the numbers were written on a big-endian machine")
        kept: dict[str, Tensor] = {}

        def storage(identity: object) -> Tensor:
            kind, key, count = storage_identity(identity)
            if key not in kept:
                contents = bytearray(archive.read(f"{folder}data/{key}"))
                kept[key] = (
                    torch.frombuffer(contents, dtype=torch.uint8) if contents else torch.empty(0, dtype=torch.uint8)
                )
            if len(kept[key]) < count * kind.itemsize:
                raise PickleError("a tensor is larger than its data")
            return kept[key][: count * kind.itemsize].view(kind)

        with archive.open(names[0]) as stream:
            return read_stream(stream, storage)  # type: ignore[arg-type]


def read_legacy(file: BinaryIO) -> Loaded:
    """Read a bare stream of pickles and storages; PyTorch before 1.6."""
    file.seek(0, 2)
    size = file.tell()
    file.seek(0)
    for _ in range(3):  # a magic number, a protocol number, facts about the machine
        InertReader(file, {}).read()
    kept: dict[str, Tensor] = {}
    kinds: dict[str, torch.dtype] = {}

    def storage(identity: object) -> object:
        if isinstance(identity, tuple) and identity and identity[0] == "module":
            return identity[1]  # a class with its source text, which stays a text
        kind, key, count = storage_identity(identity)
        if key not in kept:
            if sum(map(len, kept.values())) + count * kind.itemsize > size:
                raise PickleError("its tensors are larger than the file")
            kept[key], kinds[key] = torch.zeros(count * kind.itemsize, dtype=torch.uint8), kind
        whole = kept[key].view(kinds[key])
        view = identity[5] if isinstance(identity, tuple) and len(identity) > 5 else None
        if view is None:
            return whole
        _, start, length = view
        if not (is_count(start) and is_count(length) and start + length <= len(whole)):
            raise PickleError("a tensor is larger than its data")
        return whole[start : start + length]

    loaded = read_stream(file, storage)
    keys = InertReader(file, {}).read()
    if not isinstance(keys, list) or set(map(str, keys)) != set(kept):
        raise PickleError("the file ends before its tensors do")
    for key in map(str, keys):
        count = int.from_bytes(file.read(8), "little")
        contents = file.read(len(kept[key]))
        if count * kinds[key].itemsize != len(kept[key]) or len(contents) != len(kept[key]):
            raise PickleError("the file ends before its tensors do")
        if contents:
            kept[key].copy_(torch.frombuffer(bytearray(contents), dtype=torch.uint8))
    return loaded


def read_stream(stream: BinaryIO, storage: Callable[[object], object]) -> Loaded:
    """Read one pickle whose tensors lie in these storages."""
    reader = InertReader(stream, CALLS, storage)
    # This one calls another function that the pickle names, which has to be an allowed one as well.
    reader._calls = {**CALLS, ("torch._tensor", "_rebuild_from_type_v2"): partial(rebuilt_from_type, reader)}
    content = reader.read()
    return Loaded(content, reader.skipped)


def storage_identity(identity: object) -> tuple[torch.dtype, str, int]:
    """Type, key and length of a storage, from the persistent id that stands for it."""
    if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
        raise PickleError("the pickle refers to something outside itself")
    kind, key, count = identity[1], identity[2], identity[4]
    dtype = STORAGE_TYPES.get(kind.name) if isinstance(kind, Named) else None
    if dtype is None or not is_count(count):
        raise PickleError(f"its tensors are of a type that is not known ({kind})")
    return dtype, str(key), int(count)


def is_count(number: object) -> bool:
    """Whether something is a whole number from 0 on."""
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**48


def rebuilt_tensor(storage: object, offset: object, size: object, stride: object, *_: object) -> Tensor:
    """A tensor as a view of a storage, if it lies inside; `torch._utils._rebuild_tensor_v2`, on data alone."""
    if not isinstance(storage, Tensor) or not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise PickleError("the pickle describes a tensor that is none")
    if len(size) != len(stride) or len(size) > MOST_DIMENSIONS or not all(map(is_count, (offset, *size, *stride))):
        raise PickleError("the pickle describes a tensor that is none")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    # One number can stand for many (a stride of 0); beyond what broadcasting explains, that is a claim on memory.
    if math.prod(size) and (last >= len(storage) or math.prod(size) > max(len(storage), MOST_REPEATED)):
        raise PickleError("a tensor is larger than its data")
    if not math.prod(size):
        return torch.empty(size, dtype=storage.dtype)
    return storage.as_strided(size, stride, offset)  # type: ignore[arg-type]


def rebuilt_parameter(data: object, *_: object) -> object:
    """A parameter is its tensor."""
    return data


def rebuilt_from_type(reader: InertReader, function: object, kind: object, arguments: object, *_: object) -> object:
    """A tensor with attributes of its own is its tensor; the function has to be one that is carried out."""
    return reader.call(function, arguments)


def mapping(*arguments: Any) -> dict[Hashable, object]:
    """A dictionary, from nothing or from pairs."""
    made: dict[Hashable, object] = {}
    if len(arguments) == 1 and isinstance(arguments[0], list | tuple):
        for pair in arguments[0]:
            put_pairs(made, list(pair))
    elif len(arguments) == 1 and isinstance(arguments[0], dict):
        made |= arguments[0]
    return made


def listed(*arguments: Any) -> list[object]:
    """A set or a list, as a list."""
    return list(arguments[0]) if arguments and isinstance(arguments[0], list | tuple) else []


def encoded(text: object, encoding: object = "utf-8", *_: object) -> bytes:
    """Bytes that were written as a text; `_codecs.encode`, for the one encoding that pickles use."""
    if not isinstance(text, str) or encoding not in ("latin1", "utf-8"):
        raise PickleError("the pickle encodes something that is no text")
    return text.encode("latin-1" if encoding == "latin1" else "utf-8")


class NumberType:
    """A NumPy dtype of plain numbers; its state says the order of its bytes. None stands for any other dtype."""

    def __init__(self, code: object, *_: object) -> None:
        made = np.dtype(code) if isinstance(code, str) and PLAIN_TYPE.fullmatch(code) else None
        known = made is not None and made.kind in NUMPY_KINDS and made.itemsize <= 16
        self.dtype = made if known else None

    def take_state(self, state: object) -> "NumberType":
        """The same type with the order of bytes that a state names."""
        if self.dtype is not None and isinstance(state, tuple) and len(state) > 1 and state[1] in BYTE_ORDERS:
            self.dtype = self.dtype.newbyteorder(state[1])
        return self


class EmptyArray:
    """A NumPy array before its state is there."""

    def __init__(self, *_: object) -> None:
        pass

    def take_state(self, state: object) -> Tensor | Built:
        """The array, as a tensor; one of texts or objects as a record, since it holds no weights."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise PickleError("the pickle holds an array that is none")
        _, shape, kind, by_columns, contents = state
        if not isinstance(kind, NumberType) or not all(map(is_count, shape)) or len(shape) > MOST_DIMENSIONS:
            raise PickleError("the pickle holds an array of a type that is not known")
        if kind.dtype is None:
            return Built(Named("numpy", "ndarray"))
        if not isinstance(contents, bytes) or math.prod(shape) * kind.dtype.itemsize != len(contents):
            raise PickleError("an array is larger than its data")
        array = np.frombuffer(contents, dtype=kind.dtype).reshape(shape, order="F" if by_columns else "C")
        return torch.from_numpy(np.array(array, dtype=kind.dtype.newbyteorder("=")))


def number(kind: object, contents: object = b"", *_: object) -> object:
    """A NumPy scalar."""
    if not isinstance(kind, NumberType):
        raise PickleError("the pickle holds a number of a type that is not known")
    if kind.dtype is None:
        return Built(Named("numpy", "generic"))
    if not isinstance(contents, bytes) or len(contents) != kind.dtype.itemsize:
        raise PickleError("the pickle holds a number of a type that is not known")
    return np.frombuffer(contents, dtype=kind.dtype)[0].item()


def unset(kind: object, *_: object) -> Built:
    """An object without its state, as the oldest protocols write it; a record like every other."""
    return Built(kind)


CALLS: dict[tuple[str, str], Callable[..., object]] = {
    ("torch._utils", "_rebuild_tensor"): rebuilt_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): rebuilt_tensor,
    ("torch._utils", "_rebuild_parameter"): rebuilt_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): rebuilt_parameter,
    ("torch.nn.parameter", "Parameter"): rebuilt_parameter,
    ("collections", "OrderedDict"): mapping,
    ("collections", "defaultdict"): lambda *_: {},
    ("builtins", "dict"): mapping,
    ("builtins", "list"): listed,
    ("builtins", "set"): listed,
    ("builtins", "frozenset"): listed,
    ("__builtin__", "set"): listed,
    ("__builtin__", "frozenset"): listed,
    ("torch", "Size"): lambda sizes=(): tuple(sizes) if isinstance(sizes, list | tuple) else (),
    ("torch", "device"): lambda *words: ":".join(str(word) for word in words if isinstance(word, str | int)),
    ("_codecs", "encode"): encoded,
    ("copy_reg", "_reconstructor"): unset,
    ("copyreg", "_reconstructor"): unset,
    ("numpy", "dtype"): NumberType,
    ("numpy", "ndarray"): EmptyArray,
    **{(f"numpy.{core}.multiarray", "scalar"): number for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "_reconstruct"): EmptyArray for core in ("core", "_core")},
}
"""The calls that are carried out, by code of this module, on data."""
HARMLESS = {
    *(f"torch.{name}" for name in STORAGE_TYPES),
    *(f"torch.{str(kind).rpartition('.')[2]}" for kind in STORAGE_TYPES.values()),
    *("torch.storage.UntypedStorage", "torch.storage.TypedStorage"),
    *("builtins.object", "__builtin__.object", "numpy.ndarray"),
}
"""Names of which a file is none the worse."""
