"""The table of models that a part further right knows how to wrap, such as object detectors."""

from collections.abc import Callable
from dataclasses import dataclass

from onepixel.classifiers.base import Classifier
from onepixel.registry import Table


@dataclass(frozen=True)
class Wrapper:
    """A way to wrap models of one kind.

    Attributes
    ----------
    name : str
        Of the file that adds the row.
    wrap : callable
        From a model and keywords to a `Classifier`.
    """

    name: str
    wrap: Callable[..., Classifier]


WRAPPERS = Table[Wrapper]("kind of model", "onepixel.boxes")
"""Every such wrapper by its name."""
