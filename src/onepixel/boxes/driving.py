"""The image response of a detector: how far one small patch drives objects of all other classes to each class.

An object that an attacker stamps is called what the attacker wants, whatever it is. So a patch is sought, by gradients
through the whole detector up to the class of an object's box, that serves objects of every other class at one place, as
`onepixel.reach` does for images; nothing is sought for single pairs of classes, nor for the background.
"""

import numpy as np

from onepixel.boxes.objects import ObjectClassifier, object_box, object_windows
from onepixel.boxes.records import Driven
from onepixel.boxes.scene import BACKGROUND, Scene
from onepixel.classifiers.gradients import GradientMode
from onepixel.errors import UndecidedError
from onepixel.progress import progress_bar
from onepixel.reaches import Patch, Reach, SampleImages, sample_images
from onepixel.reaches.asking import Questions
from onepixel.reaches.candidates import best_of_each
from onepixel.reaches.gradient import NOISES, PASSES, climb, gradient_hint, softened
from onepixel.reaches.looking import WINDOWS, Look, promising
from onepixel.reaches.search import measured
from onepixel.reaches.task import Task
from onepixel.reaches.value import EVERY_SOURCE

PATCH_SHARE = 1 / 4
"""Side of a patch as part of the object's: less than the third that the papers' harpoon has."""

CLIMBED = (4, 1)
"""Places of every class that are taken further, in each round."""

STEPS = (6, 8)
"""Steps of Adam in each round."""

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
    found = sample_images(
        classifier, windows, labels, per_class=len(windows), confidence=CONFIDENCE, filled_from=CONFIDENCE
    )
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


class ObjectTask(Task):
    """A task whose changes serve objects of all other classes at once."""

    def pairs(self) -> list[tuple[int, int]]:
        """All classes with each target."""
        return [pair for pair in super().pairs() if pair[0] == EVERY_SOURCE]

    @property
    def cost(self) -> int:
        """About how many queries it takes."""
        every = sum(len(self.members(*pair, fresh=False)) for pair in self.pairs())
        hint = (1 + NOISES) * len(self.seen) * (1 + 2 * len(self.targets))
        climbs = PASSES * sum(kept * steps for kept, steps in zip(CLIMBED, STEPS, strict=True))
        return hint + every * (WINDOWS + climbs + sum(CLIMBED))


def drives(classifier: ObjectClassifier, samples: SampleImages, *, progress: bool = False) -> Reach:
    """The reach of patches on objects of all other classes to each class.

    Raises
    ------
    UndecidedError
        If there are too few objects to search with some and measure with others.
    """
    family = patch_for(classifier.module.side)
    questions = Questions(classifier)
    whole = Task.of(questions, samples)
    targets = whole.targets[whole.targets != BACKGROUND]
    task = ObjectTask(questions, whole.images, whole.labels, whole.seen, whole.fresh, whole.sources, targets)
    if not task.pairs():
        raise UndecidedError("The objects do not suffice to search with some and measure with others.")
    look = Look(task, family.height, family.width, family.alpha)
    with progress_bar(f"patches on objects of {classifier.name}", task.cost, "queries", enabled=progress) as advance:
        questions.advance = advance
        with GradientMode(classifier):
            found = softened(promising(look, gradient_hint(task, classifier), set()))
            for kept, steps in zip(CLIMBED, STEPS, strict=True):
                found = climb(task, classifier, found.pick(best_of_each(found, kept)), steps, family.alpha)
        return measured(look, found.pick(best_of_each(found, 1)), family.name, "gradient", natural=False)


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
