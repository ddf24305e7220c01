"""Whether a network was asked at intensities that it does not expect, told by an auditor's images.

A network that was made for images from 0 to 255 and is shown 0 to 1 sees black: it calls every image the same. Where
the user did not say the range, and another one makes the answers agree with the images, that is said instead of a
verdict.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onepixel.classifiers import Classifier
from onepixel.errors import UndecidedError
from onepixel.opening.image_folder import AuditorImages
from onepixel.reaches.samples import CONFIDENCE, SampleImages, answered, sample_images

RANGES = ((0.0, 255.0), (-1.0, 1.0))
"""What networks expect beside 0 to 1."""

MOST_IMAGES = 100
"""Images that are asked about again, at each other range."""

GOOD = 0.8
"""Agreement up to which another range is tried, and from which on that may be the right one."""

BETTER = 0.15
"""By how much more another range has to agree."""

SURE = 0.5
"""Share of the images that a network is sure of up to which another range is tried."""

COLLAPSED = 0.9
"""Share of images in one class from which on a network does not tell images without labels apart."""


def sure_images(classifier: Classifier, given: AuditorImages, left: int | None) -> "SureImages":
    """The images that the classifier is surest of; where those are few or contradict labels, after a second look.

    Parameters
    ----------
    classifier : Classifier
    given : AuditorImages
    left : int or None
        Images that may be asked about beside those that were given; None for as many as it takes.

    Raises
    ------
    UndecidedError
        If the classifier is sure of fewer than two classes, or expects another range of intensities.
    """
    try:
        every = sample_images(classifier, given.images, given.labels, per_class=len(given))
    except UndecidedError as error:
        try:
            other_ranges(classifier, given, left)
        except UndecidedError as better:
            raise UndecidedError(f"{error} {better}") from error
        raise
    sure = every.surest()
    few = len(sure) <= SURE * len(given)
    mixed = sure.given is not None and agreement(sure.labels, sure.given) <= GOOD
    notes, asked = other_ranges(classifier, given, left) if few or mixed else ((), 0)
    return SureImages(every, notes, asked)


@dataclass(frozen=True)
class SureImages:
    """Images that a classifier is surest of, what was noticed on the way, and how many more images were asked about."""

    samples: SampleImages
    notes: tuple[str, ...]
    asked: int


def other_ranges(classifier: Classifier, given: AuditorImages, left: int | None) -> tuple[tuple[str, ...], int]:
    """Ask about some of the images at other ranges: a sentence where the network is surer there, and how many.

    Raises
    ------
    UndecidedError
        If the answers at another range tell the images apart much better; the sentence says which.
    """
    chosen = np.linspace(0, len(given) - 1, min(len(given), MOST_IMAGES)).astype(np.int64)
    needed = len(chosen) * (1 + len(RANGES))
    if not getattr(classifier, "range_unsure", False) or (left is not None and needed > left):
        return (), 0
    images = given.images[chosen]
    labels = None if given.labels is None else given.labels[chosen]
    found, probability = answered(classifier, images)
    here, share = agreement(found, labels), share_of_sure(probability)
    surer = []
    for lowest, highest in RANGES:
        stretched = images * np.float32(highest - lowest) + np.float32(lowest)
        found, probability = answered(classifier, stretched)
        there, surely = agreement(found, labels), share_of_sure(probability)
        if there >= GOOD and there >= here + BETTER:
            told = "your images" if labels is None else "the classes of your images"
            raise UndecidedError(
                f"At intensities from 0 to 1, as --normalize none means, {classifier.name} tells {told} apart badly; "
                f"from {lowest:g} to {highest:g} well: say --range {lowest:g},{highest:g} (or --range 0,1 if you are "
                "sure of that)."
            )
        if share <= SURE < surely and there >= max(here, GOOD):
            surer.append(f"of {surely:.0%} from {lowest:g} to {highest:g}")
    if not surer:
        return (), needed
    return (
        f"At intensities from 0 to 1 the network is sure of {share:.0%} of the images, {' and '.join(surer)}: if it "
        "expects one of these, say so with --range.",
    ), needed


def share_of_sure(probability: NDArray[np.float64]) -> float:
    """The share of images whose answers a classifier is sure of."""
    return float((probability >= CONFIDENCE).mean())


def agreement(found: NDArray[np.int64], labels: NDArray[np.int64] | None) -> float:
    """How well answers (N,) tell images apart, from 0 to 1.

    With labels: the share of images that are called what most of their label are called, times the share of labels
    that are called something of their own. Without: 0 if nearly all are called the same, 1 if three classes or more
    are named often, else 0.9, which no range betters.
    """
    if labels is None:
        shares = np.sort(np.bincount(found))[::-1] / len(found)
        if shares[0] >= COLLAPSED:
            return 0.0
        return 1.0 if len(shares) > 2 and shares[2] >= 1 - COLLAPSED else 0.9
    right, called = 0, set()
    for label in np.unique(labels):
        counts = np.bincount(found[labels == label])
        right += int(counts.max())
        called.add(int(counts.argmax()))
    return right / len(found) * len(called) / len(np.unique(labels))
