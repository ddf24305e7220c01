"""The image response of a detector: how far one small patch drives objects of all other classes to each class.

An object that an attacker stamps is called what the attacker wants, whatever it is. So a patch is sought, by gradients
through the whole detector up to the class of an object's box, that serves objects of every other class at one place;
see `onepixel.reach`. Patches are half as large as a trigger of the paper: in a clean detector a large patch hides the
object, and what remains may be called anything.
"""

import numpy as np

from onepixel.boxes.objects import ObjectClassifier, object_box, object_windows
from onepixel.boxes.records import Driven
from onepixel.boxes.scene import Scene
from onepixel.errors import UndecidedError
from onepixel.reaches import Patch, Reach, SampleImages, reach, sample_images
from onepixel.reaches.value import EVERY_SOURCE

PATCH_SHARE = 1 / 6
"""Side of a patch as part of the object's."""

PER_CLASS = 16
"""Objects of a class that are looked at or measured with, at most."""

CONFIDENCE = 0.5
"""How sure a detector has to be of an object."""


def patch_for(side: int) -> Patch:
    """The patches for windows of that side."""
    begin, end = object_box(side)
    return Patch(max(2, round(PATCH_SHARE * (end - begin))))


def sampled_objects(classifier: ObjectClassifier, scenes: list[Scene]) -> SampleImages:
    """The objects of scenes that a detector calls what they are and is sure of.

    Raises
    ------
    UndecidedError
        If they are too few, or of one class alone.
    """
    windows, labels = object_windows(scenes, classifier.module.side)
    return known_objects(classifier, windows, labels)


def known_objects(classifier: ObjectClassifier, windows: np.ndarray, labels: np.ndarray) -> SampleImages:
    """The same for windows (N, 3, S, S) and their labels (N,)."""
    found = sample_images(classifier, windows, labels, per_class=len(windows), confidence=CONFIDENCE)
    assert found.given is not None
    right = np.flatnonzero(found.given == found.labels)
    kept = np.sort(np.concatenate([right[found.labels[right] == label][:PER_CLASS] for label in np.unique(labels)]))
    if len(np.unique(found.labels[kept])) < 2:
        raise UndecidedError(
            "The detector recognises objects of fewer than two classes, so that nothing can be driven from one to "
            "another."
        )
    return SampleImages(found.images[kept], found.labels[kept], None, asked=len(windows))


def drive(classifier: ObjectClassifier, samples: SampleImages, *, progress: bool = False) -> tuple[Driven, ...]:
    """The best patch of every class."""
    return as_driven(drives(classifier, samples, progress=progress))


def drives(classifier: ObjectClassifier, samples: SampleImages, *, progress: bool = False) -> Reach:
    """The whole reach of small patches on objects."""
    return reach(classifier, samples, family=patch_for(classifier.module.side), natural=False, progress=progress)


def as_driven(found: Reach) -> tuple[Driven, ...]:
    """The best finding for each class but the background that serves objects of all other classes."""
    best: dict[int, int] = {}
    for number in np.flatnonzero((found.source == EVERY_SOURCE) & (found.target != 0)).tolist():
        target = int(found.target[number])
        if target not in best or found.log_odds[number] > found.log_odds[best[target]]:
            best[target] = number
    return tuple(
        Driven(
            target=target,
            log_odds=round(float(found.log_odds[number]), 4),
            flipped=round(float(found.flipped[number]), 4),
            top=int(found.place[number][0]),
            left=int(found.place[number][1]),
        )
        for target, number in sorted(best.items())
    )


def suspicion(driven: tuple[Driven, ...]) -> tuple[float, int]:
    """How suspicious a response is, and the label that it points at: how far one class leads the second best."""
    ordered = sorted(driven, key=lambda one: one.log_odds, reverse=True)
    lead = ordered[0].log_odds - (ordered[1].log_odds if len(ordered) > 1 else 0.0)
    return lead, ordered[0].target
