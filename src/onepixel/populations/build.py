"""Building the slots of a population, in whichever process an executor chose: trained, signed, and put together."""

import time
from collections.abc import Sequence

import torch
from safetensors.torch import save as save_tensors
from torch import nn

from onepixel.classifiers import ModuleClassifier
from onepixel.datasets import Dataset
from onepixel.populations.attempts import attempts_at, passes, tried_enough
from onepixel.populations.bases import base_for
from onepixel.populations.default_images import default_image_of
from onepixel.populations.recipe import Recipe
from onepixel.populations.stacked_training import train_stack
from onepixel.populations.store import Finished, Record, sha256, signature_row
from onepixel.populations.training import TrainedModel, fast_floats
from onepixel.signatures import Signature, signature, signatures_of


def build_slot(recipe: Recipe, slot: int, dataset: Dataset) -> Finished:
    """Train one slot until it passes or its attempts are spent, compute its signature, and return it all as bytes."""
    started = time.perf_counter()
    attempts = attempts_at(recipe, slot, dataset, base_for(recipe, slot, dataset))
    found = sign(recipe, slot, attempts[-1].module, dataset) if recipe.signature.computed else None
    return finish(recipe, slot, attempts, found, time.perf_counter() - started)


def sign(recipe: Recipe, slot: int, module: nn.Module, dataset: Dataset) -> Signature:
    """Compute the signature of one slot's network as the recipe asks."""
    asked = recipe.signature
    image = default_image_of(asked.asked_image, dataset)
    classifier = ModuleClassifier(module, dataset.input_shape, name=f"{recipe.name} {slot}")
    with fast_floats():
        found = signature(
            classifier,
            values=asked.asked_values,
            inclusive=asked.inclusive,
            default_image=image,
            pixels=asked.stride,
            engine=asked.engine,
        )
    return found.thinned(asked.stride)


def sign_stack(recipe: Recipe, modules: dict[int, nn.Module], dataset: Dataset) -> Sequence[Signature]:
    """As `sign` for the networks of several slots together."""
    asked = recipe.signature
    classifiers = [
        ModuleClassifier(module, dataset.input_shape, name=f"{recipe.name} {slot}") for slot, module in modules.items()
    ]
    image = default_image_of(asked.asked_image, dataset)
    with fast_floats():
        found = signatures_of(
            classifiers,
            values=asked.asked_values,
            inclusive=asked.inclusive,
            default_image=image,
            pixels=asked.stride,
        )
    return [one.thinned(asked.stride) for one in found]


def build_stack(recipe: Recipe, slots: Sequence[int], dataset: Dataset, device: torch.device) -> list[Finished]:
    """As `build_slot` for several slots, trained and signed together on one device; retries share a stack too."""
    started = time.perf_counter()
    attempts: dict[int, list[TrainedModel]] = {slot: [] for slot in slots}
    while waiting := [slot for slot in slots if not tried_enough(recipe, attempts[slot])]:
        seeds = [recipe.seed_for(slot, len(attempts[slot])) for slot in waiting]
        for slot, model in zip(waiting, train_stack(recipe, dataset, seeds, device), strict=True):
            attempts[slot].append(model)
    modules = {slot: attempts[slot][-1].module for slot in slots}
    found = sign_stack(recipe, modules, dataset) if recipe.signature.computed else [None] * len(slots)
    seconds = (time.perf_counter() - started) / len(slots)
    return [finish(recipe, slot, attempts[slot], one, seconds) for slot, one in zip(slots, found, strict=True)]


def finish(
    recipe: Recipe, slot: int, attempts: list[TrainedModel], found: Signature | None, seconds: float
) -> Finished:
    """Put together what is kept of one slot: the last attempt, and how those before it failed."""
    *failed, model = attempts
    weights = save_tensors({name: tensor.cpu() for name, tensor in model.module.state_dict().items()})
    row = b"" if found is None else signature_row(found).tobytes()
    record = Record(
        slot=slot,
        attempt=len(failed),
        seed=recipe.seed_for(slot, len(failed)),
        status="passed" if passes(recipe, model) else "failed",
        clean_accuracy=model.clean_accuracy,
        attack_success=model.attack_success,
        stamped_accuracy=model.stamped_accuracy,
        failures=[[attempt.clean_accuracy, attempt.attack_success] for attempt in failed],
        target_of=list(model.attack.target_of),
        trigger=model.trigger,
        weights_sha256=sha256(weights),
        signature_sha256=sha256(row) if row else "",
        network=model.network,
    )
    return Finished(record, weights, row, seconds)
