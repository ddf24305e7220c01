"""Where models are trained. An executor takes a recipe and slots and yields each slot's outcome as it comes.

Only the driver writes the store; workers return bytes. A worker that dies loses what it was training, no more.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

from onepixel.populations.executors.local import LocalExecutor
from onepixel.populations.executors.ray import RayExecutor
from onepixel.populations.executors.stacked import StackedExecutor
from onepixel.populations.recipe import Recipe
from onepixel.populations.store import Finished

__all__ = ["Executor", "LocalExecutor", "RayExecutor", "StackedExecutor"]


class Executor(Protocol):
    """A way to build slots."""

    def run(self, recipe: Recipe, slots: Sequence[int]) -> Iterator[Finished]:
        """Build the slots and yield each as it is finished, in any order."""
