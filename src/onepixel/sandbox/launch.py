"""Starting the sandboxed child at the strongest level that holds, with nothing inherited but two pipes."""

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from dataclasses import asdict
from glob import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from onepixel.errors import UsageError
from onepixel.opening.limits import Limits
from onepixel.opening.recognise import Format
from onepixel.opening.request import Request
from onepixel.sandbox import child
from onepixel.sandbox.level import Level
from onepixel.sandbox.protocol import SMALL, Frame, ProtocolError, receive, send

PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "sklearn",
    "safetensors",
    "rich",
    "landlockpy",
    "pyseccomp",
    "onnx",
    "onnxruntime",
    "ai_edge_litert",
)
SYSTEM_FOLDERS = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/proc/self", "/sys/devices/system/cpu")
PRIVATE_BYTES = 2**20
DEVICES = ("/dev/null", "/dev/urandom")
SYSTEM_FILES = ("/etc/ld.so.cache", "/proc/cpuinfo", "/proc/meminfo", *DEVICES)


class Child:
    """A running sandboxed process.

    Attributes
    ----------
    level : Level
        What isolates it.
    deadline : float
        When it is ended, in time.monotonic's seconds.
    """

    def __init__(self, request: Request, limits: Limits, level: Level) -> None:
        self.level = level
        self.limits = limits
        self.deadline = time.monotonic() + limits.wall_seconds
        theirs_in, self._to_child = os.pipe()
        self._from_child, theirs_out = os.pipe()
        folders, files = readable(request)
        self._canary = tempfile.NamedTemporaryFile(prefix="onepixel-canary-")  # noqa: SIM115
        setup = {
            "request": request.to_json(),
            "format": request.format.value,
            "limits": asdict(limits),
            "memory_bytes": limits.memory_bytes,
            "processor_seconds": limits.processor_seconds,
            "landlock": level.landlock,
            "seccomp": level.seccomp,
            "folders": folders,
            "files": files,
            "packages": package_folders(),
            "folder": str(Path.cwd()),
            "canary": self._canary.name,
            "parent": 0 if level.bubblewrap else os.getpid(),
            "threads": threads(),
        }
        errors = None if os.environ.get("ONEPIXEL_DEBUG") else subprocess.DEVNULL
        pipes = [str(theirs_in), str(theirs_out)]
        interpreter = [sys.executable, "-I", "-B", "-X", "utf8", child.__file__, *pipes, json.dumps(setup)]
        self.process = subprocess.Popen(
            [*(bubblewrapped(folders, files) if level.bubblewrap else []), *interpreter],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={},
            close_fds=True,
            pass_fds=(theirs_in, theirs_out),
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        # A child that stops reading would otherwise hold this process in a write for ever.
        self._alarm = threading.Timer(limits.wall_seconds, self.process.kill)
        self._alarm.daemon = True
        self._alarm.start()

    def ask(self, about: dict[str, Any], arrays: dict[str, Any] | None = None) -> None:
        """Send one frame."""
        send(self._to_child, about, arrays)

    def answer(self, most: int = SMALL) -> Frame:
        """Wait for one frame of at most `most` bytes.

        Raises
        ------
        ProtocolError
            If the child ended, is late, or sent something else; it is ended then.
        """
        try:
            return receive(self._from_child, most, self.deadline)
        except ProtocolError as error:
            late = time.monotonic() >= self.deadline
            status = self.close()
            if late:
                raise ProtocolError(f"it ran into the sandbox's {self.limits.wall_seconds:g} s of wall time") from error
            if status is not None and status < 0 and "ended early" in str(error):
                raise ProtocolError(
                    f"it crashed or ran into the sandbox's limits (signal {-status}; {self.limits.memory_bytes} bytes "
                    f"of memory, {self.limits.processor_seconds} s of processor time)"
                ) from error
            raise

    def close(self) -> int | None:
        """End the child, whatever it is doing, and return its exit status."""
        if self._to_child < 0:
            return self.process.returncode
        self._alarm.cancel()
        os.close(self._to_child)
        os.close(self._from_child)
        self._to_child = self._from_child = -1
        try:
            status: int | None = self.process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = None
        self._canary.close()
        return status


def readable(request: Request) -> tuple[list[str], list[str]]:
    """The folders and files that the child may read: the system's libraries, Python, its packages, the one file.

    Beside an ONNX file lie the weights it keeps outside itself; of its folder, the files that begin with its name are
    readable too. An architecture of the user's own is readable with its package.
    """
    here = Path(__file__).resolve().parents[1]
    interpreter = {sys.base_prefix, sys.prefix, *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib"))}
    folders = {*SYSTEM_FOLDERS, *package_folders(), *interpreter, str(here)}
    files = {*SYSTEM_FILES, request.path}
    if request.format is Format.ONNX:
        path = Path(request.path)
        files |= {str(beside) for beside in path.parent.glob(f"{escape(path.stem)}*") if beside.is_file()}
    if request.format is Format.SHARDED:
        files |= {str(beside) for beside in Path(request.path).parent.glob("*.safetensors") if beside.is_file()}
    if request.architecture and ":" in request.architecture and not request.architecture.startswith("timm:"):
        folder_of = named_package(request.architecture.partition(":")[0])
        (folders if folder_of.is_dir() else files).add(str(folder_of))
    return sorted(path for path in folders if Path(path).is_dir()), sorted(
        path for path in files if Path(path).exists()
    )


def package_folders() -> list[str]:
    """Where the packages that the child imports are installed."""
    specs = [find_spec(name) for name in PACKAGES]
    return sorted({str(Path(spec.origin).parent.parent) for spec in specs if spec is not None and spec.origin})


def named_package(module: str) -> Path:
    """The outermost package, or the single file, of a module that the user named.

    Raises
    ------
    UsageError
        If there is no such module.
    """
    sys.path.append(str(Path.cwd()))
    try:
        spec = find_spec(module.partition(".")[0])
    except (ImportError, ValueError) as error:
        raise UsageError(f"There is no module {module!r}.") from error
    finally:
        sys.path.pop()
    if spec is None or spec.origin is None:
        raise UsageError(f"There is no module {module!r}.")
    origin = Path(spec.origin)
    return origin.parent if spec.submodule_search_locations else origin


def threads() -> int:
    """As many threads as this process would compute with."""
    if "torch" in sys.modules:
        return int(sys.modules["torch"].get_num_threads())
    return len(os.sched_getaffinity(0))


def bubblewrapped(folders: list[str], files: list[str]) -> list[str]:
    """The beginning of a command line that runs the rest in namespaces of its own, with only these paths, read-only."""
    paths = [path for path in (*folders, *files) if not path.startswith("/proc")]
    mounts = [word for path in paths for word in ("--dev-bind" if path in DEVICES else "--ro-bind", path, path)]
    isolation = ["--unshare-all", "--die-with-parent", "--cap-drop", "ALL", "--clearenv", "--proc", "/proc"]
    # torch insists on a folder for its caches when it is imported; this one is the child's own, and small.
    temporary = ["--size", str(PRIVATE_BYTES), "--tmpfs", "/tmp"]
    return ["bwrap", *isolation, *temporary, *mounts, "--chdir", "/", "--remount-ro", "/"]
