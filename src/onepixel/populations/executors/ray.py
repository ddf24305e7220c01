"""A Ray cluster: one task per slot, on as many machines as there are."""

import importlib
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onepixel.datasets import Dataset, load_dataset
from onepixel.errors import StoreError, UsageError
from onepixel.populations.build import build_slot
from onepixel.populations.recipe import Recipe
from onepixel.populations.store import Finished


class RayExecutor:
    """One Ray task of one core and one thread per slot; the data set is put into Ray's object store once.

    Every node needs onepixel of the same version, and, for viruses made from a data set, that data set. A worker or a
    node that dies loses what it was training; Ray starts those slots again elsewhere.

    Parameters
    ----------
    address : str, optional
        Of the cluster, such as "10.0.0.1:6379" or "auto". None joins the cluster that this process is connected to
        or that RAY_ADDRESS names, and else starts one on this machine.
    retries : int
        How often Ray starts one slot again before the build gives up; -1 is without end.

    Raises
    ------
    UsageError
        If Ray is not installed or `retries` is below -1; on running, if there is no cluster at the address.
    """

    def __init__(self, address: str | None = None, retries: int = 10) -> None:
        if retries < -1:
            raise UsageError(f"Retries must be -1 (without end) or more but got {retries}.")
        self._ray = _imported_ray()
        self.address = address
        self.retries = retries

    def run(self, recipe: Recipe, slots: Sequence[int]) -> Iterator[Finished]:
        """Yield each slot as it is finished.

        Raises
        ------
        StoreError
            If a slot's worker died once more than it is started again.
        """
        ray = self._ray
        dataset = load_dataset(recipe.dataset)
        connected_here = not ray.is_initialized()
        if connected_here:
            self._connect()
        pending: list[Any] = []
        try:
            arrays = ray.put(_Arrays.of(dataset))
            build = ray.remote(_build_in_task).options(num_cpus=1, max_retries=self.retries)
            pending = [build.remote(recipe, slot, arrays) for slot in slots]
            while pending:
                (done,), pending = ray.wait(pending)
                yield self._result(done)
        finally:
            for task in pending:
                ray.cancel(task, force=True)
            if connected_here:
                ray.shutdown()

    def _connect(self) -> None:
        # Ray reports on its use to its makers unless told not to; an audit tool reports nothing to anybody.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            self._ray.init(address=self.address, log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UsageError(f"Cannot join the Ray cluster {self.address or 'on this machine'}: {reason}") from error

    def _result(self, task: Any) -> Finished:
        exceptions = self._ray.exceptions
        try:
            return self._ray.get(task)
        except exceptions.RaySystemError as error:
            reason = str(error).splitlines()[0]
            raise UsageError(f"The Ray cluster has a node without this version of onepixel: {reason}.") from error
        except exceptions.RayTaskError as error:
            raise error.cause from error
        except exceptions.RayError as error:
            raise StoreError(
                f"Workers of the Ray cluster died too often ({type(error).__name__}); "
                "what is finished is kept, the rest can go on."
            ) from error


def _imported_ray() -> ModuleType:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise UsageError("Building on a Ray cluster needs Ray: pip install 'onepixel[ray]'.") from error


@dataclass(frozen=True)
class _Arrays:
    """A data set as NumPy arrays: those, unlike tensors, all tasks of a node read from one copy in shared memory."""

    name: str
    parts: tuple[NDArray[Any], ...]

    @classmethod
    def of(cls, dataset: Dataset) -> "_Arrays":
        tensors = (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test)
        return cls(dataset.name, tuple(np.asarray(tensor) for tensor in tensors))

    def dataset(self) -> Dataset:
        with warnings.catch_warnings():
            # The shared copy is read-only, of which torch warns; nothing ever writes into a data set.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return Dataset(self.name, *(torch.as_tensor(part) for part in self.parts))


def _build_in_task(recipe: Recipe, slot: int, arrays: _Arrays) -> Finished:
    torch.set_num_threads(1)
    return build_slot(recipe, slot, arrays.dataset())
