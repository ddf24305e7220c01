"""What goes through the pipes between onepixel and its sandboxed child: JSON and arrays, never a pickle.

A frame is two lengths (8 bytes each), a JSON object, and a safetensors block. The parent believes nothing in it.
"""

import json
import os
import select
import struct
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from onepixel.errors import ModelFileError

LENGTHS = struct.Struct(">QQ")
CHUNK = 2**20
SMALL = 2**18
"""Bytes that a frame without arrays may have."""


class ProtocolError(ModelFileError):
    """The other side closed the pipe, was too slow, or sent something that is no frame."""


@dataclass(frozen=True)
class Frame:
    """One message.

    Attributes
    ----------
    about : dict
        JSON types.
    arrays : dict of str to array
    """

    about: dict[str, Any]
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


def send(descriptor: int, about: dict[str, Any], arrays: dict[str, NDArray[Any]] | None = None) -> None:
    """Write one frame.

    Raises
    ------
    ProtocolError
        If nobody reads it any more.
    """
    words = json.dumps(about).encode()
    block = save({name: np.ascontiguousarray(array) for name, array in arrays.items()}) if arrays else b""
    contents = memoryview(LENGTHS.pack(len(words), len(block)) + words + block)
    try:
        while contents:
            contents = contents[os.write(descriptor, contents) :]
    except OSError as error:
        raise ProtocolError("the sandbox ended early") from error


def receive(descriptor: int, most: int, deadline: float | None = None) -> Frame:
    """Read one frame of at most `most` bytes.

    Parameters
    ----------
    descriptor : int
    most : int
        Nothing is read beyond it, so that the other side cannot fill this one's memory.
    deadline : float, optional
        In time.monotonic's seconds.

    Raises
    ------
    ProtocolError
        If the pipe is closed, the frame is late, too large, or no frame.
    """
    words_length, block_length = LENGTHS.unpack(read_exactly(descriptor, LENGTHS.size, deadline))
    if words_length + block_length > most:
        raise ProtocolError("the sandbox sent more than it may")
    words = read_exactly(descriptor, words_length, deadline)
    block = read_exactly(descriptor, block_length, deadline)
    try:
        about = json.loads(words)
        arrays = load(block) if block else {}
    except Exception as error:
        raise ProtocolError("the sandbox sent something that is no answer") from error
    if not isinstance(about, dict):
        raise ProtocolError("the sandbox sent something that is no answer")
    return Frame(about, arrays)


def read_exactly(descriptor: int, count: int, deadline: float | None) -> bytes:
    """Read that many bytes, waiting for them until the deadline."""
    contents = bytearray()
    while len(contents) < count:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise ProtocolError("it took longer than it may")
        chunk = os.read(descriptor, min(CHUNK, count - len(contents)))
        if not chunk:
            raise ProtocolError("the sandbox ended early")
        contents += chunk
    return bytes(contents)
