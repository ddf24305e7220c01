"""Which format a file is in, told by its content and never by its name, without running or unpickling anything."""

import pickletools
import re
import stat
import zipfile
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from onepixel.errors import ModelFileError, UsageError
from onepixel.opening.limits import Limits, address_space_capped, check_archive
from onepixel.printable import escaped, one_line

HEAD_BYTES = 4096
MODEL_PROTO_FIELDS = {1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26}
"""Field numbers of ONNX's ModelProto; 7 is the graph."""
GRAPH_FIELD = 7
MOST_PROTO_RECORDS = 100_000


class Format(Enum):
    """What a file's content is."""

    ONNX = "ONNX"
    SAFETENSORS = "safetensors weights"
    STATE_DICT = "PyTorch state dict"
    CHECKPOINT = "PyTorch checkpoint"
    SKOPS = "skops"
    TORCHSCRIPT = "TorchScript program"
    EXPORTED_PROGRAM = "torch.export program"
    PICKLE = "pickle"
    LEGACY_TORCH = "PyTorch file of before version 1.6"
    COMPRESSED = "compressed file"
    KERAS = "Keras model"
    HDF5 = "HDF5 file"
    ORT = "ONNX Runtime's own format"
    NUMPY = "NumPy arrays"
    ARCHIVE = "archive"
    PACKED = "archive with a model inside"
    SHARDED = "safetensors weights in several files"
    TFLITE = "TensorFlow Lite model"
    OTHERWISE_PACKED = "archive that is not unpacked"
    POINTER = "pointer to a file elsewhere"
    WEB_PAGE = "web page"
    UNKNOWN = "unknown"


DATA_FORMATS = {Format.ONNX, Format.SAFETENSORS, Format.SHARDED, Format.STATE_DICT, Format.SKOPS}
WEIGHT_FORMATS = {Format.SAFETENSORS, Format.SHARDED, Format.STATE_DICT, Format.CHECKPOINT, Format.LEGACY_TORCH}
PROGRAM_FORMATS = {Format.TORCHSCRIPT, Format.EXPORTED_PROGRAM}
SANDBOX_ONLY = {*PROGRAM_FORMATS, Format.LEGACY_TORCH, Format.PACKED, Format.KERAS, Format.HDF5, Format.TFLITE}
"""What is opened in a sandbox or not at all."""
PLAIN_GLOBALS = re.compile(
    r"torch [A-Z][A-Za-z0-9]*Storage|torch\.storage (Untyped|Typed)Storage|torch (Size|device)|collections OrderedDict|"
    r"torch\._utils _rebuild_(tensor_v2|tensor|parameter)|torch\.nn\.parameter Parameter"
)
"""What the pickle of a plain state dict names; torch.load itself reads that."""
MOST_PICKLE_BYTES = 2**28
NAMING_OPCODES = {"GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"}

PACKED_STARTS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
LARGEST_INDEX = 2**26
COMPRESSED_STARTS = (b"\x04\x22\x4d\x18", b"\x28\xb5\x2f\xfd", b"ZF")
OTHERWISE_PACKED_STARTS = (b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07")
POINTER_START = b"version https://git-lfs.github.com/spec/"
WEB_PAGE_STARTS = (b"<!doctype html", b"<html")
LEGACY_TORCH_START = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e"
TEXT_PICKLE_STARTS = (
    b"(dp",
    b"(lp",
    b"(ip",
    b"ccopy_reg",
    b"cos\n",
    b"cposix",
    b"c__builtin__",
    b"cbuiltins",
    b"}",
    b"]",
)


def recognise(path: Path, limits: Limits) -> Format:
    """Tell the format of a file from its content.

    Raises
    ------
    UsageError
        If there is no such file, or it cannot be read.
    ModelFileError
        If it is no regular file, is empty, too large, or a damaged archive.
    """
    try:
        about = path.stat()
    except (OSError, ValueError) as error:
        raise UsageError(f"There is no file {escaped(path)}.") from error
    if stat.S_ISDIR(about.st_mode):
        raise UsageError(f"{escaped(path)} is a folder, not a file.")
    if not stat.S_ISREG(about.st_mode):
        raise ModelFileError(f"{escaped(path)} is no regular file.")
    if about.st_size > limits.file_bytes:
        raise ModelFileError(
            f"{escaped(path)} has {about.st_size} bytes, more than the {limits.file_bytes} that are allowed."
        )
    try:
        with path.open("rb") as file:
            return recognise_content(file, about.st_size, escaped(path), limits)
    except OSError as error:
        raise UsageError(f"Cannot read {escaped(path)}: {error.strerror}.") from error


def recognise_content(file: BinaryIO, size: int, name: str, limits: Limits) -> Format:
    """Tell the format of what is in an open file of that size; `name` is for people.

    Raises
    ------
    ModelFileError
        If it is empty, or a damaged archive.
    """
    head = file.read(HEAD_BYTES)
    if not head:
        raise ModelFileError(f"{name} is empty.")
    if head.startswith(b"PK"):
        return recognise_archive(file, size, name, limits)
    if is_safetensors(head, size):
        return Format.SAFETENSORS
    if head.lstrip()[:1] == b"{" and b'"weight_map"' in whole_text(file):
        return Format.SHARDED
    return recognise_stream(file, head, size)


def whole_text(file: BinaryIO) -> bytes:
    """All of a small file."""
    file.seek(0)
    return file.read(LARGEST_INDEX)


def recognise_stream(file: BinaryIO, head: bytes, size: int) -> Format:
    """Tell the format of a file that is no archive from its first bytes and, for ONNX, its outermost structure."""
    if head.startswith(LEGACY_TORCH_START):
        return Format.LEGACY_TORCH
    if (head[0] == 0x80 and len(head) > 1 and head[1] <= 5) or head.startswith(TEXT_PICKLE_STARTS):
        return Format.PICKLE
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return Format.HDF5
    if head.startswith(b"\x93NUMPY"):
        return Format.NUMPY
    if head.startswith(PACKED_STARTS):
        return Format.PACKED
    if head.startswith(OTHERWISE_PACKED_STARTS):
        return Format.OTHERWISE_PACKED
    if head.startswith(POINTER_START):
        return Format.POINTER
    if head.lstrip().lower().startswith(WEB_PAGE_STARTS):
        return Format.WEB_PAGE
    if head.startswith(COMPRESSED_STARTS) or is_zlib(head):
        return Format.COMPRESSED
    if head[4:8] == b"TFL3":
        return Format.TFLITE
    if head[4:8] == b"ORTM":
        return Format.ORT
    if len(head) > 262 and head[257:262] == b"ustar":
        return Format.PACKED
    return Format.ONNX if is_model_proto(file, size) else Format.UNKNOWN


def is_zlib(head: bytes) -> bool:
    """Whether a file starts with a zlib header (RFC 1950, section 2.2)."""
    return len(head) > 1 and head[0] == 0x78 and int.from_bytes(head[:2]) % 31 == 0


def is_safetensors(head: bytes, size: int) -> bool:
    """Whether a file starts with a header length that fits into it, followed by a JSON object."""
    return len(head) > 8 and 2 <= int.from_bytes(head[:8], "little") <= size - 8 and head[8:9] == b"{"


def recognise_archive(file: BinaryIO, size: int, name: str, limits: Limits) -> Format:
    """Tell the format of a zip archive from the names in it.

    Raises
    ------
    ModelFileError
        If the archive is damaged, or would unpack to more than its limits.
    """
    try:
        with address_space_capped(limits.memory_bytes), zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except Exception as error:
        raise ModelFileError(f"{name} is a damaged archive: {one_line(error)}.") from error
    check_archive(name, size, entries, limits)
    names = [entry.filename for entry in entries]
    inner = {name.partition("/")[2] for name in names}
    if "archive_format" in inner or any(name.startswith("models/") for name in inner):
        return Format.EXPORTED_PROGRAM
    if {"serialized_exported_program.json", "serialized_state_dict.pt"} & (inner | set(names)):
        return Format.EXPORTED_PROGRAM
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        return Format.TORCHSCRIPT
    if "data.pkl" in inner:
        return kind_of_pickle(
            file, name, next(entry for entry in entries if entry.filename.partition("/")[2] == "data.pkl")
        )
    if "schema.json" in names:
        pickled = any(name.lower().endswith((".pkl", ".pickle", ".joblib")) for name in names)
        return Format.ARCHIVE if pickled else Format.SKOPS
    if "config.json" in names and any(name.endswith((".h5", ".weights.json")) for name in names):
        return Format.KERAS
    if names and all(name.endswith(".npy") for name in names):
        return Format.NUMPY
    return Format.PACKED


def kind_of_pickle(file: BinaryIO, name: str, entry: zipfile.ZipInfo) -> Format:
    """Whether what torch.save pickled names anything but tensors and plain containers; it is only looked through."""
    if entry.file_size > MOST_PICKLE_BYTES:
        raise ModelFileError(f"{name} holds a pickle of {entry.file_size} bytes, more than is read.")
    try:
        with zipfile.ZipFile(file) as archive:
            contents = archive.read(entry)
        named = [arg for op, arg, _ in pickletools.genops(contents) if op.name in NAMING_OPCODES]
    except Exception as error:
        raise ModelFileError(f"{name} holds a damaged pickle: {one_line(error)}.") from error
    plain = all(isinstance(name, str) and PLAIN_GLOBALS.fullmatch(name) for name in named)
    return Format.STATE_DICT if plain else Format.CHECKPOINT


def is_model_proto(file: BinaryIO, size: int) -> bool:
    """Whether a file is, at its outermost level, a complete protocol buffer with ONNX's fields and a graph."""
    seen: set[int] = set()
    file.seek(0)
    for _ in range(MOST_PROTO_RECORDS):
        if file.tell() == size:
            return GRAPH_FIELD in seen
        tag, length = read_varint(file), read_varint(file)
        if tag is None or length is None or tag >> 3 not in MODEL_PROTO_FIELDS or tag & 7 not in (0, 2):
            return False
        seen.add(tag >> 3)
        if tag & 7 == 2:
            if length > size - file.tell():
                return False
            file.seek(length, 1)
    return False


def read_varint(file: BinaryIO) -> int | None:
    """Read one variable-length integer of a protocol buffer; None where there is none."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    return None
