"""What a model file may cost: bytes on disk and in memory, and time; checked before anything is allocated."""

import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from onepixel.errors import ModelFileError
from onepixel.printable import one_line


@dataclass(frozen=True)
class Limits:
    """What opening and asking one model may cost.

    Attributes
    ----------
    file_bytes : int
        Size of the file, and of everything in it once unpacked.
    memory_bytes : int
        Address space that opening it, and asking it, may take on top of what the process has already.
    processor_seconds : int
        Processor time of the sandboxed process, all threads together.
    wall_seconds : float
        Wall time of the sandboxed process from start to end.
    call_seconds : float
        Wall time of one batch, and of opening an ONNX file without a sandbox.
    """

    file_bytes: int = 2 * 2**30
    memory_bytes: int = 4 * 2**30
    processor_seconds: int = 7200
    wall_seconds: float = 3600.0
    call_seconds: float = 120.0


LARGEST_RATIO = 200
"""How many times its size an archive may unpack to; weights hardly compress."""


def check_archive(name: str, size: int, entries: list[zipfile.ZipInfo], limits: Limits) -> None:
    """Refuse archives that unpack to too much, or that two readers could read differently.

    Raises
    ------
    ModelFileError
        If a name occurs twice, an entry is encrypted, or sizes are beyond the limits.
    """
    names = {entry.filename for entry in entries}
    if len(names) != len(entries):
        raise ModelFileError(f"{name} holds the same name twice; readers of such an archive disagree about it.")
    if any(entry.flag_bits & 1 for entry in entries):
        raise ModelFileError(f"{name} holds an encrypted entry.")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > limits.file_bytes or unpacked > LARGEST_RATIO * size:
        raise ModelFileError(
            f"{name} unpacks from {size} to {unpacked} bytes, more than onepixel allows "
            f"({limits.file_bytes} bytes, and {LARGEST_RATIO} times its size)."
        )


@contextmanager
def address_space_capped(extra_bytes: int) -> Iterator[None]:
    """Cap this process's address space at what it has now plus `extra_bytes`, so that greed ends in a MemoryError.

    Only Linux has such a cap; elsewhere, and where a lower cap is in force already, nothing happens. The cap is
    lifted when the block ends.
    """
    if sys.platform != "linux":
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    cap = pages * resource.getpagesize() + extra_bytes
    if resource.RLIM_INFINITY != soft <= cap or resource.RLIM_INFINITY != hard <= cap:
        yield
        return
    resource.setrlimit(resource.RLIMIT_AS, (cap, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def refusing(path: str, what: str) -> Iterator[None]:
    """Turn whatever a parser throws at a damaged or hostile file into one sentence.

    Raises
    ------
    ModelFileError
        Instead of any error that onepixel did not raise itself.
    """
    from onepixel.errors import OnepixelError

    try:
        yield
    except OnepixelError:
        raise
    except MemoryError as error:
        raise ModelFileError(f"{path}: {what} took more memory than it may.") from error
    except Exception as error:
        raise ModelFileError(f"{path}: {what} failed: {one_line(error) or type(error).__name__}.") from error
