"""Compressed files and archives with one model inside, unpacked in memory and within limits; nothing is written.

Names in an archive are names and nothing else: no path is ever made from one, so none can climb out of a folder.
"""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from onepixel.errors import ModelFileError
from onepixel.opening.folders import Folder, choose_model
from onepixel.opening.limits import LARGEST_RATIO, Limits, refusing
from onepixel.opening.recognise import Format, recognise_content
from onepixel.opening.refusals import refuse
from onepixel.opening.request import Request
from onepixel.printable import one_line

DEEPEST = 4
CHUNK = 2**20
OPENERS: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
"""How a compressed file begins, and what reads it."""


@dataclass(frozen=True)
class Unpacked:
    """What was inside.

    Attributes
    ----------
    request : Request
        For the model itself, with its contents.
    notes : tuple of str
        How it was found, for the verdict.
    """

    request: Request
    notes: tuple[str, ...]


def unpacked(request: Request, limits: Limits) -> Unpacked:
    """The one model inside a compressed file or an archive, however many are inside one another.

    Raises
    ------
    ModelFileError
        If there is no model, it is of a kind that is never opened, or it unpacks to more than its limits.
    UsageError
        If there are several.
    """
    contents, notes = request.read(), []
    most = min(limits.file_bytes, LARGEST_RATIO * len(contents))
    for _ in range(DEEPEST):
        with refusing(request.name, "unpacking it"):
            name, contents, said = unpacked_once(contents, request, most)
        notes += said
        form = recognise_content(io.BytesIO(contents), len(contents), f"{request.name} ({name})", limits)
        if form is not Format.PACKED:
            refuse(f"{request.name} is an archive whose {name}", form)
            return Unpacked(replace(request, format=form, contents=contents), tuple(notes))
    raise ModelFileError(f"{request.name} holds more than {DEEPEST} archives inside one another.")


def unpacked_once(contents: bytes, request: Request, most: int) -> tuple[str, bytes, list[str]]:
    """What is inside the outermost layer: its name, its contents, and what is to be said about it."""
    for start, opener in OPENERS.items():
        if contents.startswith(start):
            with opener(io.BytesIO(contents)) as file:
                return "contents", bounded(file, most, request.name), ["The file was decompressed."]
    entries = zip_entries(contents) if contents.startswith(b"PK") else tar_entries(contents)
    sizes = {name: size for name, (size, _) in entries.items()}
    if sum(sizes.values()) > most:
        raise ModelFileError(
            f"{request.name} unpacks from {len(contents)} to {sum(sizes.values())} bytes, more than onepixel allows."
        )
    climbing = [name for name in entries if climbs(name)]
    if climbing:
        raise ModelFileError(f"{request.name} holds the name {one_line(climbing[0], 60)!r}, which climbs out of it.")

    def read(name: str) -> bytes:
        with entries[name][1]() as file:
            return bounded(file, min(most, sizes[name]), request.name)

    found = choose_model(Folder(request.name, tuple(entries), read))
    return one_line(found.model, 60), read(found.model), [f"The model is {one_line(found.model, 60)} in the archive."]


def climbs(name: str) -> bool:
    """Whether a name in an archive would lie outside the folder that it is unpacked into."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return ".." in parts or parts[:1] == ("/",)


Entries = dict[str, tuple[int, Callable[[], BinaryIO]]]
"""Size and opener of each regular file, by name."""


def zip_entries(contents: bytes) -> Entries:
    """The files in a zip archive."""
    archive = zipfile.ZipFile(io.BytesIO(contents))
    return {
        entry.filename: (entry.file_size, lambda entry=entry: archive.open(entry))  # type: ignore[misc]
        for entry in archive.infolist()
        if not entry.is_dir()
    }


def tar_entries(contents: bytes) -> Entries:
    """The regular files in a tar archive; links and devices are left out."""
    archive = tarfile.open(fileobj=io.BytesIO(contents), mode="r:")  # noqa: SIM115 (in memory)
    return {
        member.name: (member.size, lambda member=member: archive.extractfile(member))  # type: ignore[misc]
        for member in archive
        if member.isreg()
    }


def bounded(file: BinaryIO, most: int, name: str) -> bytes:
    """Everything in a stream, if it is no more than `most` bytes.

    Raises
    ------
    ModelFileError
        If it is more.
    """
    made = bytearray()
    while chunk := file.read(min(CHUNK, most + 1 - len(made))):
        made += chunk
        if len(made) > most:
            raise ModelFileError(f"{name} unpacks to more than the {most} bytes that onepixel allows.")
    return bytes(made)
