"""Many networks trained together on one device."""

import os
from collections.abc import Iterator, Sequence

import torch

from onepixel.datasets import Dataset, load_dataset
from onepixel.errors import UsageError
from onepixel.populations.build import build_stack
from onepixel.populations.executors.local import in_shared_memory
from onepixel.populations.executors.processes import Workers
from onepixel.populations.recipe import Recipe
from onepixel.populations.store import Finished


class StackedExecutor:
    """Processes that train one stack of networks after the other, all on one device.

    The recipe's `stack_size` says which slots share a stack, and a stack is always trained whole, also where some of
    its slots are finished already, so that an interrupted build ends with the same networks. What a process that dies
    loses is its stack. A second process uses the GPU while the first one draws triggers or evaluates.

    Parameters
    ----------
    device : str, optional
        Such as "cuda:1"; a GPU where there is one and else the CPU, unless said otherwise.
    workers : int
        Processes, each with a stack of its own on the device.
    restarts : int
        How often a dead process is replaced before the build gives up.

    Raises
    ------
    UsageError
        If there is no such device.
    """

    def __init__(self, device: str | None = None, workers: int = 1, restarts: int = 3) -> None:
        chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            self.device = torch.empty(0, device=chosen).device
        except (RuntimeError, AssertionError) as error:
            raise UsageError(f"There is no device {chosen!r} here.") from error
        self.workers, self.restarts = workers, restarts

    def run(self, recipe: Recipe, slots: Sequence[int]) -> Iterator[Finished]:
        """Yield each slot of a stack once the stack is finished."""
        wanted = set(slots)
        stacks = [stack for stack in stacks_of(recipe) if not wanted.isdisjoint(stack)]
        shared = (recipe, in_shared_memory(load_dataset(recipe.dataset)), self.device)
        workers = Workers(self.workers, _start_worker, shared, _build_in_worker, self.restarts)
        for stack in workers.run(stacks):
            yield from (finished for finished in stack if finished.record.slot in wanted)


def stacks_of(recipe: Recipe) -> list[tuple[int, ...]]:
    """The slots of each stack; the first and the last may be smaller, by where the population begins and ends."""
    size = recipe.training.stack_size
    end = recipe.first_slot + recipe.models
    stacks = range(recipe.first_slot // size, (end - 1) // size + 1)
    return [tuple(range(max(recipe.first_slot, n * size), min(end, (n + 1) * size))) for n in stacks]


_worker: tuple[Recipe, Dataset, torch.device]


def _start_worker(recipe: Recipe, dataset: Dataset, device: torch.device) -> None:
    global _worker
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.allow_tf32 = False
    _worker = (recipe, dataset, device)


def _build_in_worker(slots: tuple[int, ...]) -> list[Finished]:
    recipe, dataset, device = _worker
    return build_stack(recipe, slots, dataset, device)
