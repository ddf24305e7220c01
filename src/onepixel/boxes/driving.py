"""The image response of a detector: how far one small patch drives objects of all other classes to each class.

An object that an attacker stamps is called what the attacker wants, whatever it is. So a patch is sought, by gradients
through the whole detector up to the class of an object's box, that serves objects of every other class at one place;
nothing is sought for single pairs of classes, nor for the background.

Clean detectors give way to such patches too, as far as many backdoored ones. Two things tell them apart. Where
gradients of single pixels point misses many triggers, so the search begins at places all over the object as well, which
is why its stages are not those of `onepixel.reach`. And a patch that was fitted to a clean detector works only where it
was fitted, while a trigger was learnt on boxes of all sizes: what counts, for the search too once it has begun, is what
a patch does when it is moved aside.
"""

import time
from collections import Counter
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from onepixel.boxes.objects import ObjectClassifier, object_box, object_windows
from onepixel.boxes.records import Driven
from onepixel.boxes.scene import BACKGROUND, Scene
from onepixel.classifiers.gradients import GradientMode
from onepixel.errors import UndecidedError
from onepixel.progress import progress_bar
from onepixel.reaches import Patch, Reach, SampleImages, sample_images
from onepixel.reaches.asking import Questions
from onepixel.reaches.candidates import Candidates, apart, best_of_each, join, measure
from onepixel.reaches.gradient import NOISES, PASSES, climb, gradient_hint, softened
from onepixel.reaches.looking import WINDOWS, Look, promising
from onepixel.reaches.search import Besides, measured
from onepixel.reaches.task import Task
from onepixel.reaches.value import EVERY_SOURCE

PATCH_SHARE = 1 / 4
"""Side of a patch as part of the object's: less than the third that the papers' harpoon has."""

GRID = 0.6
"""From one place of the grid to the next, as part of the patch's side."""

FIRST_STEPS = 3
"""Steps of Adam from every place."""

ROUNDS = ((6, 10), (3, 16))
"""How many places of every class are taken further, none within half a patch of a better one, and by how many steps."""

TIME_SHARES = (0.5, 0.75, 0.92)
"""The part of the time after which the first steps end, and each round; the rest is for measuring."""

LEADERS = 8
"""Classes that a search goes on with, those that the first patches drive objects to farthest."""

MOVED = 2 / 9
"""How far patches are moved aside when they are measured, up, down, left and right, as part of their side."""

SIDES = ((-1, 0), (1, 0), (0, 1), (0, -1))
"""Up, down, right and left, in rows and columns."""

TOGETHER = 16
"""Patches that take their steps together."""

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
    return drives(classifier, samples, progress=progress)[1]


class ObjectTask(Task):
    """A task whose changes serve objects of all other classes at once."""

    def pairs(self) -> list[tuple[int, int]]:
        """All classes with each target."""
        return [pair for pair in super().pairs() if pair[0] == EVERY_SOURCE]

    def cost(self, places: int) -> int:
        """About how many queries it takes, with so many places in the grid."""
        every = sum(len(self.members(*pair, fresh=False)) for pair in self.pairs())
        leading = every * min(1, LEADERS / len(self.targets))
        hint = (1 + NOISES) * len(self.skimmed().seen) * (1 + 2 * len(self.targets))
        first = PASSES * FIRST_STEPS * (WINDOWS + places) * leading
        rounds = leading * sum(kept * (PASSES * steps + len(SIDES)) for kept, steps in ROUNDS)
        fresh = sum(len(self.members(*pair, fresh=True)) for pair in self.pairs())
        return int(hint + every * WINDOWS + first + rounds + (1 + len(SIDES)) * fresh)


def drives(
    classifier: ObjectClassifier, samples: SampleImages, *, seconds: float | None = None, progress: bool = False
) -> tuple[Reach, tuple[Driven, ...]]:
    """The reach of patches on objects of all other classes to each class, and what counts of it.

    Parameters
    ----------
    classifier : ObjectClassifier
    samples : SampleImages
        See `known_objects`.
    seconds : float, optional
        About how long the search may take. What it has by then is measured; the same on every machine only if it ends
        by itself.
    progress : bool
        Show a progress bar on standard error.

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
    look = Look(task, family.height, family.width, family.alpha, pairs=False)
    grid = places_on(classifier.module.side, family.height)
    started = time.monotonic()
    ends = [None if seconds is None else started + share * seconds for share in TIME_SHARES]
    label = f"patches on objects of {classifier.name}"
    with progress_bar(label, task.cost(len(grid)), "queries", enabled=progress) as advance, GradientMode(classifier):
        questions.advance = advance
        found = begun(look, grid, ends[0])
        for (kept, steps), end in zip(ROUNDS, ends[1:], strict=True):
            found = climbed(look, found.pick(worthiest_apart(found, kept, look.height / 2)), steps, end)
            found = found.with_worth(when_moved(look, found, fresh=False))
    reach = measured(look, found.pick(best_of_each(found, 1)), family, "gradient", Besides())
    best = Candidates(reach.source, reach.target, reach.place, torch.as_tensor(reach.fillings), reach.log_odds)
    return reach, as_driven(reach, when_moved(look, best, fresh=True))


def places_on(side: int, size: int) -> NDArray[np.int64]:
    """The places (P, 4) of a grid on the object of a window of that side, for patches of a size."""
    begin, end = object_box(side)
    last = end - size
    steps = np.linspace(begin, last, 1 + max(1, round((last - begin) / (GRID * size)))).round().astype(np.int64)
    return np.array([(top, left, size, size) for top in steps for left in steps], dtype=np.int64)


def begun(look: Look, grid: NDArray[np.int64], end: float | None) -> Candidates:
    """A few steps from where gradients of single pixels point, and from grey at every place of a grid."""
    task = look.task
    hinted = softened(promising(look, gradient_hint(task.skimmed()), set()))
    if len(task.targets) > LEADERS:
        best = climbed(look, hinted.pick(best_of_each(hinted, 1)), FIRST_STEPS, end)
        leading = best.target[np.argsort(-best.worth, kind="stable")[:LEADERS]]
        hinted = hinted.pick(np.flatnonzero(np.isin(hinted.target, leading)))
    targets = np.unique(hinted.target)
    place = np.repeat(grid, len(targets), axis=0)
    grey = Candidates(
        source=np.full(len(place), EVERY_SOURCE),
        target=np.tile(targets, len(grid)),
        place=place,
        filling=torch.full((len(place), task.size[0], look.height, look.width), 0.5),
        worth=np.full(len(place), -np.inf, dtype=np.float32),
    )
    found = climbed(look, join([hinted, grey]), FIRST_STEPS, end)
    return found.pick(np.flatnonzero(np.isfinite(found.worth)))


def climbed(look: Look, found: Candidates, steps: int, end: float | None) -> Candidates:
    """Candidates taken some steps further, those that come first until the time ends; the others as they are."""
    parts = []
    for start in range(0, len(found), TOGETHER):
        part = found.pick(np.arange(start, min(start + TOGETHER, len(found))))
        if end is None or time.monotonic() < end:
            part = climb(look.task, part, steps, look.alpha)
        else:  # so that the bar goes on
            members = look.task.members_of(part.source, part.target, fresh=False)
            look.questions.advance(PASSES * steps * sum(map(len, members)))
        parts.append(part)
    return join(parts)


def worthiest_apart(found: Candidates, most: int, distance: float) -> NDArray[np.int64]:
    """Numbers of the `most` worthiest of every target that lie apart: the best of every target first, and so on."""
    ranks: Counter[int] = Counter()
    ranked = []
    for number in apart(found, found.worth, distance):
        target = int(found.target[number])
        if ranks[target] < most:
            ranked.append((ranks[target], number))
        ranks[target] += 1
    return np.array([number for _, number in sorted(ranked)], dtype=np.int64)


def when_moved(look: Look, found: Candidates, *, fresh: bool) -> NDArray[np.float32]:
    """Mean log-odds (F,) of each target with the patch moved aside, up, down, left and right, over objects."""
    far = max(1, round(MOVED * look.height))
    odds = []
    for down, right in SIDES:
        place = found.place + np.array([far * down, far * right, 0, 0])
        place[:, :2] = np.clip(place[:, :2], 0, look.task.size[1] - look.height)
        odds.append(measure(look.task, replace(found, place=place), look.alpha, fresh=fresh)[0])
    return np.mean(odds, axis=0)


def as_driven(found: Reach, moved: NDArray[np.float32]) -> tuple[Driven, ...]:
    """What is kept of each class's patch, in the order of classes."""
    return tuple(
        Driven(
            target=int(found.target[number]),
            log_odds=round(float(found.log_odds[number]), 4),
            moved=round(float(moved[number]), 4),
            flipped=round(float(found.flipped[number]), 4),
            top=int(found.place[number][0]),
            left=int(found.place[number][1]),
        )
        for number in np.argsort(found.target)
    )


def suspicion(driven: tuple[Driven, ...]) -> tuple[float, int]:
    """How suspicious a response is, and the label that it points at: how far one class leads the second best.

    A backdoor has one target; with the patch moved aside, a clean detector's classes are near each other.
    """
    ordered = sorted(driven, key=lambda one: one.moved, reverse=True)
    lead = ordered[0].moved - (ordered[1].moved if len(ordered) > 1 else 0.0)
    return lead, ordered[0].target
