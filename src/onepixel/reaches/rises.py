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

PROBE = Patch(3)

PLACES = 3
"""Places whose mean counts, those that lift a class most: one alone may be chance."""


def pair_rises(classifier: Classifier, images: ArrayLike) -> NDArray[np.float32]:
    """How far patches lift the log-odds of each class on each image: the mean of the three best places.

    At each place of a grid the best of five fillings counts (`generic_fillings`). It is the one-pixel signature's
    question, how far each class can be driven, asked with 3 x 3 pixels and of every source class by itself.

    Parameters
    ----------
    classifier : Classifier
        Of K classes.
    images : array of shape (S, C, H, W)
        One for each source class, such as the mean training image of each, in [0, 1].

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
    base = torch.as_tensor(np.asarray(images, dtype=np.float32))
    if base.ndim != 4 or tuple(base.shape[1:]) != classifier.input_shape:
        shapes = f"{tuple(base.shape)} but the network takes images {classifier.input_shape}"
        raise UsageError(f"Expected one image for each class, (S, C, H, W), and got {shapes}.")
    fillings = generic_fillings(base.shape[1], PROBE.height, PROBE.width)
    questions = Questions(classifier)
    before = questions.log_odds(base)
    repeated, laid = base.repeat_interleave(len(fillings), 0), fillings.repeat(len(base), 1, 1, 1)
    best = []
    for place in torch.as_tensor(PROBE.places(*base.shape[2:])):
        changed = questions.log_odds(paste(repeated, place.expand(len(laid), 4), laid))
        best.append(changed.view(len(base), len(fillings), -1).amax(1) - before)
    highest = torch.stack(best).topk(min(PLACES, len(best)), dim=0).values
    return np.asarray(highest.mean(0).numpy(), dtype=np.float32)
