"""What makes a command start and end soon: libraries are read while Python imports, and the end is short.

Importing torch is most of a short audit, and taking an interpreter apart that has imported it takes half a second.
"""

import atexit
import contextlib
import ctypes
import os
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

LIBRARIES = ("libtorch_global_deps.so", "libtorch_cpu.so", "libtorch_cuda.so")
"""What torch links, in order, without its bindings to Python."""


def read_torch_libraries() -> None:
    """Load torch's libraries in a thread, while Python imports other things; they are the half that is no Python."""
    if sys.platform == "linux" and "torch" not in sys.modules:
        threading.Thread(target=_read_libraries, daemon=True).start()


def _read_libraries() -> None:
    # Whatever fails here is tried again by torch itself, which knows what to say about it.
    with contextlib.suppress(Exception):
        found = find_spec("torch")
        if found is None or found.origin is None:
            return
        folder = Path(found.origin).parent / "lib"
        for name in LIBRARIES:
            if (folder / name).is_file():
                ctypes.CDLL(str(folder / name), mode=ctypes.RTLD_GLOBAL if "deps" in name else ctypes.DEFAULT_MODE)


def leave(status: int) -> None:
    """End this process with that exit status, without taking the interpreter apart: with torch that takes long.

    What was registered for the end is done, and what was printed is written; where that is not sure (other threads
    or processes are at work, or a pipe was closed), the interpreter ends as it always does.
    """
    if "torch" not in sys.modules:
        sys.exit(status)
    from multiprocessing import active_children  # torch has imported it

    at_work = [thread for thread in threading.enumerate() if not thread.daemon] != [threading.main_thread()]
    if not at_work and not active_children():
        with contextlib.suppress(OSError, ValueError):
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    sys.exit(status)
