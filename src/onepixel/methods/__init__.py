"""What the project compares itself with, one file each, behind one small protocol: see `base.Method`.

A file's last line puts its method into `METHODS`.
"""

from copy import deepcopy

from onepixel.methods.base import Method, Needs, Score, TrainedMethod
from onepixel.methods.table import METHODS

__all__ = ["METHODS", "Method", "Needs", "Score", "TrainedMethod", "method"]


def method(name: str) -> Method:
    """Return the compared method of that name, not yet trained, with settings that take seconds.

    Raises
    ------
    UsageError
        If there is none.
    """
    return deepcopy(METHODS[name])
