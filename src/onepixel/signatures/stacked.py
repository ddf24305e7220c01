"""The stacked engine: signatures of many networks of one architecture at once, their weights side by side.

One small network cannot fill a GPU; M of them, evaluated as one network whose convolutions have M groups, can.
Every network still sees every image of the definition, so this is as exact as the exhaustive engine.
"""

import copy
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from onepixel.classifiers import ModuleClassifier, to_log_odds
from onepixel.classifiers.base import probe_images
from onepixel.classifiers.module import evaluating, full_precision
from onepixel.errors import UsageError
from onepixel.progress import progress_bar
from onepixel.signatures.compute import assemble, describe_default_image
from onepixel.signatures.exhaustive import BATCH_BYTES, BATCH_IMAGES
from onepixel.signatures.plan import Advance, Extremes, Plan, default_image_arrays, pixel_mask, value_grid
from onepixel.signatures.value import Settings, Signature

MODELS_AT_ONCE = 64
"""Networks whose weights are stacked together."""

GPU_FACTOR = 64
"""A GPU takes this many times the batch of a CPU."""


def require_one_architecture(classifiers: Sequence[ModuleClassifier]) -> None:
    """Raise unless the classifiers differ in nothing but their weights.

    Raises
    ------
    UsageError
        Naming the first one that differs, and in what.
    """
    if not classifiers:
        raise UsageError("There is no classifier to make a signature of.")

    def features(classifier: ModuleClassifier) -> dict[str, object]:
        weights = {name: (weight.shape, weight.dtype) for name, weight in classifier.module.state_dict().items()}
        normalization = [
            None if part is None else part.flatten().tolist() for part in (classifier.mean, classifier.std)
        ]
        return {
            "class": type(classifier.module),
            "layers": str(classifier.module),
            "weights": weights,
            "input shape": classifier.input_shape,
            "outputs": classifier.outputs,
            "normalisation": normalization,
            "device": classifier.device,
            "floating type": classifier.dtype,
        }

    first = features(classifiers[0])
    for number, classifier in enumerate(classifiers[1:], start=2):
        for what, value in features(classifier).items():
            if value != first[what]:
                raise UsageError(
                    f"Stacked signatures need classifiers of one architecture, but number {number} "
                    f"({classifier.name}) differs from number 1 ({classifiers[0].name}) in its {what}."
                )


def stack(classifiers: Sequence[ModuleClassifier]) -> Callable[[Tensor], Tensor]:
    """One function from images (N, C, H, W) to the answers (M, N, K) of all M classifiers.

    Raises
    ------
    UsageError
        If the classifiers are not of one architecture, or it cannot be stacked (data-dependent control flow, say).
    """
    require_one_architecture(classifiers)
    modules = [classifier.module for classifier in classifiers]
    with ExitStack() as modes:
        for module in modules:
            modes.enter_context(evaluating(module))
        parameters, buffers = stack_module_state(modules)
        skeleton = copy.deepcopy(modules[0])

    def answer_one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], images: Tensor) -> Tensor:
        answers: Tensor = functional_call(skeleton, (parameters, buffers), (images,))
        return answers

    answer_all = vmap(answer_one, in_dims=(0, 0, None))

    def answer(images: Tensor) -> Tensor:
        with evaluating(skeleton):
            return answer_all(parameters, buffers, classifiers[0].prepare(images))

    require_same_answers(classifiers, answer)
    return answer


def require_same_answers(classifiers: Sequence[ModuleClassifier], answer: Callable[[Tensor], Tensor]) -> None:
    """Raise unless the stack answers four images as each classifier does: what a module prints may not be all it does.

    Raises
    ------
    UsageError
    """
    first = classifiers[0]
    images = probe_images(first.input_shape, first.dtype, first.device)
    try:
        together = answer(images)
    except (RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{first.name} cannot be stacked: {reason}") from error
    for number, classifier in enumerate(classifiers):
        alone = classifier(images)
        difference = float((together[number] - alone).abs().max())
        if not difference <= 1e-4 * (1 + float(alone.abs().max())):
            raise UsageError(
                f"Classifier number {number + 1} ({classifier.name}) answers differently when stacked "
                f"(by {difference:.2g}), so it is not of the same architecture as number 1."
            )


def images_per_pass(plan: Plan, models: int) -> int:
    """Images per forward pass of all models: what was asked for, else what bounds memory over images x models."""
    if plan.batch_size is not None:
        return plan.batch_size
    factor = GPU_FACTOR if plan.default_image.is_cuda else 1
    image_bytes = plan.default_image.numel() * plan.default_image.element_size()
    return max(1, factor * min(BATCH_IMAGES, BATCH_BYTES // image_bytes) // models)


def stacked(classifiers: Sequence[ModuleClassifier], plan: Plan, advance: Advance) -> list[Extremes]:
    """Find the extremes of M classifiers of one architecture together, by P x V + 1 queries each.

    Memory is bounded by the M networks and one batch, whatever H, W and V are.

    Parameters
    ----------
    classifiers : sequence of ModuleClassifier
        On one device, with one floating type.
    plan : Plan
    advance : callable
        Called with the number of pixels just finished, for all classifiers at once.

    Raises
    ------
    UsageError
        If the classifiers are not of one architecture, or it cannot be stacked.
    BudgetError
        Before anything is asked, if the plan's budget is smaller than what each classifier is asked.
    """
    plan.require(plan.cells + 1, "a stride of pixels needs fewer")
    answer = stack(classifiers)
    size = images_per_pass(plan, len(classifiers))
    outputs = classifiers[0].outputs

    def ask(images: Tensor) -> Tensor:
        answers = answer(images)
        return to_log_odds(answers.flatten(0, 1), outputs).view_as(answers)

    base = ask(plan.default_image[None])[:, 0]
    models, classes = base.shape
    pixels, values = len(plan.pixels), len(plan.grid)
    low = torch.full((models, pixels, classes), float("inf"), dtype=base.dtype, device=base.device)
    high = torch.full_like(low, float("-inf"))
    finished = 0
    for start in range(0, plan.cells, size):
        cells = torch.arange(start, min(start + size, plan.cells), device=plan.pixels.device)
        odds = ask(plan.images(cells))
        owner = (cells // values)[None, :, None].expand_as(odds)
        low.scatter_reduce_(1, owner, odds, "amin")
        high.scatter_reduce_(1, owner, odds, "amax")
        done = (start + len(cells)) // values
        advance(done - finished)
        finished = done
    queries = plan.cells + 1
    return [Extremes(low[m].T, high[m].T, base[m], queries=queries, engine="stacked") for m in range(models)]


def signatures_of(
    classifiers: Sequence[ModuleClassifier],
    *,
    values: int = 256,
    inclusive: bool = False,
    default_image: float | ArrayLike = 0.0,
    pixels: int | NDArray[np.bool_] | None = None,
    batch_size: int | None = None,
    progress: bool = False,
) -> list[Signature]:
    """Compute the one-pixel signatures of many classifiers of one architecture, 64 at a time.

    Parameters
    ----------
    classifiers : sequence of ModuleClassifier
        Modules that differ in their weights alone, on one device.
    values, inclusive, default_image, pixels, progress
        As for `onepixel.signature`.
    batch_size : int, optional
        Images per forward pass; each is shown to all stacked models. Chosen by the number of models unless given.

    Returns
    -------
    list of Signature
        In the order of the classifiers.

    Raises
    ------
    UsageError
        If an argument is out of range, or the classifiers are not of one architecture.
    AnswerError
        If an answer on the way is NaN, infinite or no distribution.

    Examples
    --------
    >>> import torch, onepixel
    >>> from onepixel.signatures import signatures_of
    >>> modules = [torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)) for _ in range(5)]
    >>> many = signatures_of([onepixel.as_classifier(m, input_shape=(1, 4, 4)) for m in modules], values=8)
    >>> len(many), many[0].shape
    (5, (3, 4, 4))
    """
    require_one_architecture(classifiers)
    first = classifiers[0]
    _, height, width = first.input_shape
    images = default_image_arrays(default_image, first.input_shape)
    mask = pixel_mask(pixels, height, width)
    grid = value_grid(values, inclusive=inclusive)
    groups = [classifiers[start : start + MODELS_AT_ONCE] for start in range(0, len(classifiers), MODELS_AT_ONCE)]
    label, total = f"signatures of {len(classifiers)} x {first.name}", len(images) * len(groups) * int(mask.sum())
    by_image = []
    with (
        full_precision(first.device),
        progress_bar(label, total, "pixels", enabled=progress) as advance,
    ):
        for image in images:
            plan = Plan.make(first, grid, image, mask, batch_size)
            settings = Settings(values, inclusive, describe_default_image(image), first.outputs)
            found = [extremes for group in groups for extremes in stacked(group, plan, advance)]
            named = zip(found, classifiers, strict=True)
            by_image.append([assemble(extremes, mask, settings, one.name) for extremes, one in named])
    if len(images) == 1:
        return by_image[0]
    settings = Settings(values, inclusive, describe_default_image(np.stack(images)), first.outputs)
    return [Signature.joined(parts, settings) for parts in zip(*by_image, strict=True)]
