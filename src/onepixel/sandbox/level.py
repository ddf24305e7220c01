"""The levels of isolation, strongest first, and which of them this machine could have."""

import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True)
class Level:
    """One way to isolate the child.

    Attributes
    ----------
    name : str
        For people and for the verdict.
    bubblewrap : bool
        The child lives in namespaces of its own, with nothing mounted but what it may read.
    landlock : bool
        The child restricts itself to the files it may read.
    seccomp : bool
        The child restricts itself to the system calls it needs.
    """

    name: str
    bubblewrap: bool = False
    landlock: bool = False
    seccomp: bool = False


LEVELS = (
    Level("Landlock and seccomp", landlock=True, seccomp=True),
    Level("bubblewrap and seccomp", bubblewrap=True, seccomp=True),
    Level("bubblewrap", bubblewrap=True),
)
"""Strongest first. Landlock alone is no level: it leaves UDP and local sockets open. Nor is seccomp alone: it leaves
every file of the user readable."""


def missing(level: Level) -> str | None:
    """Why a level cannot be had, as far as can be told without trying it; None if nothing speaks against it."""
    if sys.platform != "linux":
        return "it needs Linux"
    if level.landlock and find_spec("landlockpy") is None:
        return 'landlockpy is not installed (pip install "onepixel[sandbox]")'
    if level.seccomp and find_spec("pyseccomp") is None:
        return 'pyseccomp is not installed (pip install "onepixel[sandbox]")'
    if level.bubblewrap and shutil.which("bwrap") is None:
        return "bwrap is not installed (on Debian: apt install bubblewrap)"
    return None
