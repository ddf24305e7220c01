"""`onepixel.response`: what a patch with generic fillings does to real images, at every place; queries only."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from onepixel.classifiers import Classifier
from onepixel.errors import BudgetError
from onepixel.progress import progress_bar
from onepixel.reaches.asking import Questions
from onepixel.reaches.families import Patch
from onepixel.reaches.pasting import paste
from onepixel.reaches.response_value import Response
from onepixel.reaches.samples import SampleImages, sample_images

NOISES = 3
"""Fillings of seeded uniform noise, besides black and white."""


def generic_fillings(channels: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Black, white and three of noise, (5, C, h, w)."""
    noise = torch.rand((NOISES, channels, height, width), generator=torch.Generator().manual_seed(seed))
    plain = torch.zeros(2, channels, height, width)
    plain[1] = 1
    return torch.cat([plain, noise])


def response(
    classifier: Classifier,
    images: ArrayLike | SampleImages,
    labels: ArrayLike | None = None,
    *,
    probe: Patch = Patch(3),  # noqa: B008 (frozen)
    budget: int | None = None,
    progress: bool = False,
) -> Response:
    """R[a, t, place]: the mean probability of class t over the sample images of class a and five generic fillings.

    Parameters
    ----------
    classifier : Classifier
    images : array of shape (N, C, H, W), or SampleImages
    labels : array of shape (N,), optional
    probe : Patch
        What is replaced, and every how many rows and columns.
    budget : int, optional
        Images that may be asked at most; never exceeded. Where it is short, places are left out evenly (NaN).
    progress : bool

    Returns
    -------
    Response

    Raises
    ------
    UndecidedError
        If the classifier is sure of fewer than two classes of the images.
    BudgetError
        If the budget does not suffice for a single place.

    Examples
    --------
    >>> import numpy, torch, onepixel
    >>> module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 2))
    >>> classifier = onepixel.as_classifier(module, input_shape=(1, 6, 6))
    >>> samples = SampleImages(numpy.zeros((2, 1, 6, 6), dtype=numpy.float32), numpy.array([0, 1]))
    >>> response(classifier, samples).mean.shape
    (2, 2, 4)
    """
    samples = images if isinstance(images, SampleImages) else sample_images(classifier, images, labels)
    channels, height, width = classifier.input_shape
    places = probe.places(height, width)
    fillings = generic_fillings(channels, probe.height, probe.width)
    each = len(samples) * len(fillings)
    visited = np.arange(len(places))
    if budget is not None:
        held = min(len(places), (budget - len(samples)) // each)
        if held < 1:
            raise BudgetError(f"One place needs {each + len(samples):,} queries but the budget is {budget:,}.")
        visited = np.unique(np.linspace(0, len(places) - 1, held).round().astype(np.int64))
    sources = np.array(samples.classes, dtype=np.int64)
    shape = (len(sources), classifier.classes, len(places))
    mean, spread = (np.full(shape, np.nan, dtype=np.float32) for _ in range(2))
    base = torch.as_tensor(samples.images)
    total = len(samples) + each * len(visited)
    with progress_bar(f"response of {classifier.name}", total, "queries", enabled=progress) as advance:
        questions = Questions(classifier, budget, advance)
        unchanged = torch.sigmoid(questions.log_odds(base).double()).numpy()
        repeated = base.repeat_interleave(len(fillings), 0)
        for place in visited:
            spots = torch.as_tensor(places[place]).expand(each, 4)
            changed = paste(repeated, spots, fillings.repeat(len(base), 1, 1, 1))
            p = torch.sigmoid(questions.log_odds(changed).double()).numpy().reshape(len(base), len(fillings), -1)
            for row, source in enumerate(sources):
                own = p[samples.labels == source].reshape(-1, p.shape[2])
                mean[row, :, place], spread[row, :, place] = own.mean(0), own.std(0)
    table: NDArray[np.float32] = np.stack([unchanged[samples.labels == source].mean(0) for source in sources])
    return Response(
        sources=sources,
        places=places,
        mean=mean,
        spread=spread,
        base=table.astype(np.float32),
        fillings=fillings.numpy(),
        probe=probe.name,
        queries=questions.asked,
        classifier=classifier.name,
    )
