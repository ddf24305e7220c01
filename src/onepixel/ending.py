"""A short end for the command: an interpreter that has imported torch takes half a second to be taken apart."""

import atexit
import contextlib
import os
import sys
import threading


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
