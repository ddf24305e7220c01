"""How far a small patch with generic fillings lifts every class on one image of each class; queries only."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from onepixel.classifiers import Classifier
from onepixel.errors import UsageError
from onepixel.reaches.asking import Questions
from onepixel.reaches.families import Patch
from onepixel.reaches.pasting import paste
from onepixel.reaches.respond import generic_fillings

PROBES_A_SIDE = 11
"""How many patches fit side by side, none smaller than 3 x 3 pixels."""

PLACES = 3
"""Places whose mean counts, those that lift a class most: one alone may be chance."""


def pair_rises(classifier: Classifier, images: ArrayLike) -> NDArray[np.float32]:
    """How far patches lift the log-odds of each class on images of each class: the mean of the three best places.

    At each place of a grid the best of five fillings counts (`generic_fillings`). It is the one-pixel signature's
    question, how far each class can be driven, asked with 3 x 3 pixels (6 x 6 of 64 x 64) and of every source class by
    itself.

    Parameters
    ----------
    classifier : Classifier
        Of K classes.
    images : array of shape (S, C, H, W) or (S, M, C, H, W)
        One for each source class, such as the mean training image of each, or M, of which the mean rise counts; in
        [0, 1].

    Returns
    -------
    array of shape (S, K), float32
        In log-odds. A class that no place lifts has a number of 0 or below.

    Raises
    ------
    UsageError
        If the images are not of the classifier's shape.

    Examples
    --------
    >>> import torch, onepixel
    >>> module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 2))
    >>> classifier = onepixel.as_classifier(module, input_shape=(1, 6, 6))
    >>> pair_rises(classifier, torch.zeros(2, 1, 6, 6)).shape
    (2, 2)
    """
    given = torch.as_tensor(np.asarray(images, dtype=np.float32))
    if given.ndim not in (4, 5) or tuple(given.shape[-3:]) != classifier.input_shape:
        shapes = f"{tuple(given.shape)} but the network takes images {classifier.input_shape}"
        raise UsageError(f"Expected one image for each class, (S, C, H, W), or several, and got {shapes}.")
    channels, height, width = classifier.input_shape
    probe = probe_for(height, width)
    fillings = generic_fillings(channels, probe.height, probe.width)
    base = given.reshape(-1, channels, height, width)
    questions = Questions(classifier)
    before = questions.log_odds(base)[:, None]
    repeated, laid = base.repeat_interleave(len(fillings), 0), fillings.repeat(len(base), 1, 1, 1)
    best = []
    for place in torch.as_tensor(probe.places(height, width)):
        changed = questions.log_odds(paste(repeated, place.expand(len(laid), 4), laid))
        rises = changed.view(len(base), len(fillings), -1) - before
        best.append(rises.view(len(given), -1, *rises.shape[1:]).mean(1).amax(1))
    highest = torch.stack(best).topk(min(PLACES, len(best)), dim=0).values
    return np.asarray(highest.mean(0).numpy(), dtype=np.float32)


def probe_for(height: int, width: int) -> Patch:
    """The patch that images of this size are asked with, each beside the next."""
    side = max(3, round(min(height, width) / PROBES_A_SIDE))
    return Patch(side, stride=side)
