"""`onepixel.signature`: choose an engine, run it, and say what was done."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from onepixel.classifiers import Classifier
from onepixel.classifiers.module import full_precision
from onepixel.errors import AnswerError, ExactnessError, UsageError
from onepixel.progress import counted_by, progress_bar, tell
from onepixel.signatures.adaptive import adaptive
from onepixel.signatures.auto import auto_together
from onepixel.signatures.exhaustive import exhaustive
from onepixel.signatures.incremental import incremental_together
from onepixel.signatures.plan import Advance, Extremes, Plan, Shared, default_image_arrays, pixel_mask, value_grid
from onepixel.signatures.value import Settings, Signature

TogetherEngine = Callable[[Classifier, Sequence[Plan], Advance], list[Extremes]]
"""Finds the extremes for plans that differ in their default images alone."""

ENGINES: dict[str, TogetherEngine] = {
    "exhaustive": lambda classifier, plans, advance: [exhaustive(classifier, plan, advance) for plan in plans],
    "incremental": incremental_together,
    "adaptive": lambda classifier, plans, advance: [adaptive(classifier, plan, advance) for plan in plans],
}
"""Every engine by its name."""

PIXELS_AT_ONCE = 2**16
"""Default images with more pixels than this in all are computed in several passes, so that their maps fit in memory."""


@runtime_checkable
class ComputesSignature(Protocol):
    """A classifier whose network is elsewhere, and the engine with it; `signature` hands its arguments over."""

    def signature(self, **arguments: Any) -> Signature:
        """Compute the signature where the network is."""


@runtime_checkable
class ComputesSignatures(Protocol):
    """The same for several default images at once."""

    def signatures(self, **arguments: Any) -> list[Signature]:
        """Compute the signatures where the network is."""


def describe_default_image(image: NDArray[np.float32]) -> str:
    """Name a default image (C, H, W), or several (M, C, H, W), so that equal images get equal names."""
    if (image == image.flat[0]).all():
        return f"constant {float(image.flat[0]):g}"
    kind = f"{len(image)} images" if image.ndim == 4 else "array"
    return f"{kind} sha256:{hashlib.sha256(image.tobytes()).hexdigest()[:16]}"


def signature(
    classifier: Classifier,
    *,
    values: int = 256,
    inclusive: bool = False,
    default_image: float | ArrayLike = 0.0,
    pixels: int | NDArray[np.bool_] | None = None,
    engine: str = "auto",
    batch_size: int | None = None,
    budget: int | None = None,
    progress: bool = False,
) -> Signature:
    """Compute the one-pixel signature of a classifier (ECCV 2020, section 4.1 and Algorithm 1).

    Parameters
    ----------
    classifier : Classifier
        See `as_classifier` and `load_classifier`.
    values : int
        V, the size of the value grid v / V.
    inclusive : bool
        v / (V - 1) instead, so that the grid ends at 1.
    default_image : float or array of shape (C, H, W) or (M, C, H, W)
        I_o, in [0, 1]; black unless asked. Of several, each is visited, and the signature says how far the log-odds
        rise and fall at most, starting from any of them (ours); `Signature.joined` has the details.
    pixels : int or boolean array of shape (H, W), optional
        Visit every s-th row and column only, or the pixels of a mask.
    engine : {"auto", "exhaustive", "incremental", "adaptive"}
        "auto" picks the fastest exact engine that applies.
    batch_size : int, optional
        Images per forward pass; chosen by the engine unless given.
    budget : int, optional
        Images that may be asked at most, for a classifier whose answers cost something; the nine that were asked
        once when the classifier was wrapped are not counted. The exact engines need P x V + 1, known beforehand.
        Several default images share it equally.
    progress : bool
        Show a progress bar on standard error.

    Returns
    -------
    Signature

    Raises
    ------
    UsageError
        If an argument is out of range.
    BudgetError
        If the budget does not suffice; it is never exceeded.
    AnswerError
        If an answer on the way is NaN, infinite or no distribution.

    Examples
    --------
    >>> import torch, onepixel
    >>> module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
    >>> found = onepixel.signature(onepixel.as_classifier(module, input_shape=(1, 4, 4)), values=8)
    >>> found.values("max").shape
    (3, 4, 4)
    """
    if budget is not None and budget < 1:
        raise UsageError(f"A budget of queries is at least 1 but got {budget}.")
    images = default_image_arrays(default_image, classifier.input_shape)
    each = None if budget is None else budget // len(images)

    asked: dict[str, Any] = {
        "values": values,
        "inclusive": inclusive,
        "pixels": pixels,
        "engine": engine,
        "batch_size": batch_size,
        "budget": each,
    }
    if len(images) == 1:
        run: Callable[..., Signature] = partial(signature_here, classifier)
        if isinstance(classifier, ComputesSignature):
            run = classifier.signature
        return run(default_image=images[0], progress=progress, **asked)
    total = len(images) * int(pixel_mask(pixels, *classifier.input_shape[1:]).sum())
    with (
        progress_bar(f"signature of {classifier.name}", total, "pixels", enabled=progress) as advance,
        counted_by(advance),
    ):
        parts = signatures_from(classifier, images, shared=Shared(len(images), budget), progress=False, **asked)
    settings = replace(parts[0].settings, default_image=describe_default_image(np.stack(images)))
    return Signature.joined(parts, settings)


def signatures_from(classifier: Classifier, images: Sequence[NDArray[np.float32]], **arguments: Any) -> list[Signature]:
    """The signatures from several default images, wherever the network is."""
    if isinstance(classifier, ComputesSignatures):
        return classifier.signatures(default_images=images, **arguments)
    if isinstance(classifier, ComputesSignature):
        return [classifier.signature(default_image=image, **arguments) for image in images]
    return signatures_here(classifier, default_images=images, **arguments)


def signature_here(classifier: Classifier, *, default_image: NDArray[np.float32], **arguments: Any) -> Signature:
    """The signature from a single default image (C, H, W), of a classifier that is asked from here."""
    return signatures_here(classifier, default_images=[default_image], **arguments)[0]


def signatures_here(
    classifier: Classifier,
    *,
    values: int,
    inclusive: bool,
    default_images: Sequence[NDArray[np.float32]],
    pixels: int | NDArray[np.bool_] | None,
    engine: str,
    batch_size: int | None,
    budget: int | None,
    progress: bool,
    shared: Shared = Shared(),  # noqa: B008 (frozen)
) -> list[Signature]:
    """The signatures from default images, each (C, H, W), of a classifier that is asked from here.

    `budget` is that of each image. Small images are computed together, by an engine that can.
    """
    run = choose_engine(classifier, engine)
    _, height, width = classifier.input_shape
    mask = pixel_mask(pixels, height, width)
    grid = value_grid(values, inclusive=inclusive)
    plans = [Plan.make(classifier, grid, image, mask, batch_size, budget) for image in default_images]
    plans = [replace(plan, shared=shared, say=tell if progress else plan.say) for plan in plans]
    if run is not ENGINES["adaptive"]:
        plans[0].require(plans[0].cells + 1, 'engine="adaptive" or a stride of pixels needs fewer')
    label = f"signature of {classifier.name}"
    total = len(plans) * len(plans[0].pixels)
    at_once = max(1, PIXELS_AT_ONCE // (height * width))
    with full_precision(classifier.device), progress_bar(label, total, "pixels", enabled=progress) as advance:
        found = [
            extremes
            for first in range(0, len(plans), at_once)
            for extremes in run(classifier, plans[first : first + at_once], advance)
        ]
    settings = Settings(values, inclusive, outputs=classifier.outputs)
    return [
        assemble(extremes, mask, replace(settings, default_image=describe_default_image(image)), classifier.name)
        for extremes, image in zip(found, default_images, strict=True)
    ]


def choose_engine(classifier: Classifier, name: str) -> TogetherEngine:
    """The engine of that name, or for "auto" the fastest exact one that applies."""
    if name == "auto":
        return auto_together
    if name not in ENGINES:
        raise UsageError(f"Expected one of auto, {', '.join(ENGINES)} for engine but got {name!r}.")
    return ENGINES[name]


def require_complete(extremes: Extremes, name: str) -> None:
    """See that every pixel and class has a finite lowest and highest log-odds.

    Raises
    ------
    ExactnessError
        If the engine left a pixel out: its extremes are still those of no value at all.
    AnswerError
        If an answer was NaN or infinite.
    """
    missed = int((extremes.low > extremes.high).any(0).sum())
    if missed:
        raise ExactnessError(f"The {extremes.engine} engine left out {missed} of {extremes.low.shape[1]} pixels.")
    if not bool((extremes.low.isfinite() & extremes.high.isfinite()).all()):
        raise AnswerError(f"{name} answered NaN or infinity to an image with one changed pixel.")


def assemble(extremes: Extremes, mask: NDArray[np.bool_], settings: Settings, name: str) -> Signature:
    """Lay what an engine found for the visited pixels out as (K, H, W), if it found something for all of them."""
    require_complete(extremes, name)

    def unfold(found: torch.Tensor) -> NDArray[np.floating]:
        flat = found.cpu().numpy()
        full = np.full((len(flat), *mask.shape), np.nan, dtype=flat.dtype)
        full[:, mask] = flat
        return full

    return Signature(
        low=unfold(extremes.low),
        high=unfold(extremes.high),
        base=extremes.base.cpu().numpy(),
        settings=settings,
        engine=extremes.engine,
        queries=extremes.queries,
        classifier=name,
        note=extremes.note,
        details=extremes.details,
    )
