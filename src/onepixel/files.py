"""Writing files so that nothing half-written is ever found under its final name.

Only regular files are replaced whole. A link keeps pointing where it did, and what it points to is replaced; a pipe or
a device is written into, as every other program does.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onepixel.errors import UsageError
from onepixel.printable import escaped

STREAM_FOLDERS = ("/dev/", "/proc/")
"""A link from here names an open stream (/dev/stdout), which may be a file that others are writing to as well."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path; when the block ends without error, its contents are what `path` names.

    Raises
    ------
    UsageError
        If the folder does not exist, or the disk does not take the file.
    """
    target = Path(path)
    try:
        with stream_path(target) if is_stream(target) else replaced_path(target) as temporary:
            yield temporary
    except OSError as error:
        raise UsageError(f"Cannot write {escaped(target)}: {error.strerror or error}.") from error


@contextmanager
def replaced_path(path: Path) -> Iterator[Path]:
    """A temporary path beside a regular file, which is synced and takes its place in one step."""
    target = path.resolve() if path.is_symlink() else path
    temporary = target.with_name(f".{target.name[:200]}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def stream_path(path: Path) -> Iterator[Path]:
    """A temporary path elsewhere, whose contents go into a device or a pipe when they are complete."""
    with tempfile.TemporaryDirectory(prefix="onepixel-") as folder:
        temporary = Path(folder) / "contents"
        yield temporary
        # Neither made nor shortened: what is there is a stream.
        with temporary.open("rb") as source, open(path, "ab", buffering=0) as stream:  # noqa: PTH123
            shutil.copyfileobj(source, stream)


def is_stream(path: Path) -> bool:
    """Whether a path names something that is written into, not replaced: a device, a pipe, an open stream."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return not stat.S_ISREG(mode) or str(path.absolute()).startswith(STREAM_FOLDERS)


def write_text(path: str | Path, text: str) -> None:
    """Write a whole text file or nothing."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
