"""Base networks: trained once per machine, kept in the cache, and fine-tuned into every network of a population.

ICLR A.5 puts a backdoor into a trained network by fine-tuning. Where training is dear, networks without a backdoor are
made from the same bases in the same way, so that they differ from those with one in the poison alone.
"""

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from onepixel.datasets import Dataset
from onepixel.datasets.local import cache_folder
from onepixel.errors import UsageError
from onepixel.files import atomic_path
from onepixel.populations.attempts import attempts_at, passes
from onepixel.populations.catalogue import known_recipe
from onepixel.populations.networks import network_of
from onepixel.populations.recipe import Recipe

Weights = dict[str, Tensor]


def check_base(recipe: Recipe) -> None:
    """Refuse a recipe whose networks cannot start from the base networks that it names.

    Raises
    ------
    UsageError
        If there are none, or they are of another kind.
    """
    if recipe.base is not None:
        _base_recipe(recipe)


def base_for(recipe: Recipe, slot: int, dataset: Dataset) -> Weights | None:
    """The weights that a slot's network starts from; None where it starts from nothing.

    Slots take turns, so that every role has equally many networks of each base.

    Raises
    ------
    UsageError
        If there is no such base recipe, its networks are of another kind, or none reaches its thresholds.
    """
    if recipe.base is None:
        return None
    return base_network(_base_recipe(recipe), slot % recipe.base.networks, dataset)


def base_network(recipe: Recipe, slot: int, dataset: Dataset) -> Weights:
    """The weights of one base network: from the cache, or trained now and kept there.

    Whoever needs the same one meanwhile, in whichever process, waits for it. What is in the cache counts only if it
    says that it is of this recipe and slot, is as it was written, and fits the network; else it is trained anew.

    Raises
    ------
    UsageError
        If it does not reach its recipe's thresholds.
    """
    path = base_path(recipe, slot)
    with _one_at_a_time(path):
        kept = _read(path, recipe, slot, dataset)
        if kept is None:
            kept = _train(recipe, slot, dataset)
            with atomic_path(path) as temporary:
                temporary.write_bytes(save_tensors(kept, _label(recipe, slot, kept)))
    return kept


def base_path(recipe: Recipe, slot: int) -> Path:
    """Where the cache has, or will have, the weights of a base network."""
    return cache_folder() / "bases" / f"{recipe.digest()}-{slot:05d}.safetensors"


def _base_recipe(recipe: Recipe) -> Recipe:
    assert recipe.base is not None
    found = known_recipe(recipe.base.recipe)
    if found.base is not None or found.role != "clean":
        raise UsageError(f"{recipe.name} starts from {found.name}, which is no population of clean networks.")
    if (found.dataset, found.architecture) != (recipe.dataset, recipe.architecture):
        raise UsageError(
            f"{recipe.name} has networks of {recipe.architecture} for {recipe.dataset}, and {found.name}, which they "
            f"start from, of {found.architecture} for {found.dataset}."
        )
    return found


def _label(recipe: Recipe, slot: int, weights: Weights) -> dict[str, str]:
    content = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        content.update(f"{name} {tensor.dtype} ".encode())
        content.update(tensor.contiguous().numpy().tobytes())
    return {"recipe": recipe.digest(), "slot": str(slot), "sha256": content.hexdigest()}


def _read(path: Path, recipe: Recipe, slot: int, dataset: Dataset) -> Weights | None:
    """What is kept of a base network, if it is whole and this one's."""
    expected = network_of(recipe, {}, dataset.input_shape, dataset.classes).state_dict()
    try:
        with safe_open(path, "pt") as file:
            found = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (no mapping)
            if file.metadata() != _label(recipe, slot, found):
                return None
    except (OSError, SafetensorError):
        return None
    fits = {name: tensor.shape for name, tensor in found.items()} == {n: t.shape for n, t in expected.items()}
    return found if fits else None


def _train(recipe: Recipe, slot: int, dataset: Dataset) -> Weights:
    model = attempts_at(recipe, slot, dataset)[-1]
    if not passes(recipe, model):
        raise UsageError(
            f"Network {slot} of {recipe.name}, which others are to start from, has an accuracy of "
            f"{model.clean_accuracy:.2%} and not {recipe.thresholds.clean_accuracy:.2%}."
        )
    return {name: tensor.contiguous() for name, tensor in model.module.state_dict().items()}


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Wait until no other process has this file; the lock goes with the process, however that ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
