"""The table of data sets: what a row says, and the table itself."""

from collections.abc import Callable
from dataclasses import dataclass

from onepixel.datasets.dataset import Dataset
from onepixel.registry import Table


@dataclass(frozen=True)
class Source:
    """A data set by name.

    Attributes
    ----------
    name : str
    load : callable
        Reads it, from a local copy where there is one; else it may download.
    is_local : callable
        Whether it can be loaded without a download.
    """

    name: str
    load: Callable[[], Dataset]
    is_local: Callable[[], bool] = lambda: True


DATASETS = Table[Source]("data set", "onepixel.datasets", besides="an .npz file or a folder of images")
"""Every data set that has a name."""
