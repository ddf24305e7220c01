"""The gradient search, stage by stage: which pairs to go on with, and which of their windows, by successive halving."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from onepixel.classifiers.gradients import GradientMode
from onepixel.errors import BudgetError
from onepixel.reaches.candidates import (
    Candidates,
    adopted_by_all,
    adopted_by_pairs,
    best_of_each,
    join,
    measure,
)
from onepixel.reaches.gradient import PASSES, climb, gradient_hint, softened
from onepixel.reaches.hints import Hint, windows
from onepixel.reaches.looking import PAIRS, Look, promising
from onepixel.reaches.task import Task, capped

CLIMBS = ((3, 5), (1, 8))
"""Windows of every pair that each round of the gradient search climbs from, and its steps of Adam."""

FIRST_OF_ALL, LATER_OF_ALL = (10, 5), ((4, 8), (2, 12))
"""The same for changes from all classes, which are few, and harder to find: for every target, and for the leaders."""

STARTS_OF_ALL, FEWEST_STARTS = 120, 3
"""Windows of all targets together that the first of these rounds climbs from, but so many of each at least."""

LEADERS = 8
"""Targets that the later rounds go on with."""

ADOPTED = 4
"""Changes of pairs with one target that are tried on all classes."""

SKIMMED, SKIM_STEPS = 2000, 4
"""With many classes, so many pairs are taken so many steps, on few images, before the most promising are chosen."""


def by_gradient(look: Look) -> Candidates:
    """The gradient search: hints from gradients, then Adam by successive halving.

    What drives a pair may drive all other classes too, so the best changes of pairs are tried on all of them.
    """
    task = look.task
    with GradientMode(task.classifier):
        hint = gradient_hint(task.skimmed())
        found = softened(promising(look, hint, skim(look, hint) if look.pairs else set()))
        single, every = found.of_pairs(), found.of_all()
        if not look.pairs:
            return halved(look, every, CLIMBS)
        single = halved(look, single, CLIMBS)
        every = of_leaders(look, tried_too(look, every, adopted_by_all(single, ADOPTED)))
        leading = every.pick(np.argsort(-every.worth, kind="stable")[:LEADERS])
        single = tried_too(look, single, adopted_by_pairs(leading, task.pairs()))
        return join([single.pick(best_of_each(single, 1)), every])


def tried_too(look: Look, found: Candidates, others: Candidates) -> Candidates:
    """Candidates with others, which are measured first; without them where the budget is short."""
    if not len(others):
        return found
    try:
        worth, _ = measure(look.task, others, look.alpha)
    except BudgetError:
        return found
    return join([found, others.with_worth(worth)])


def halved(look: Look, found: Candidates, rounds: Sequence[tuple[int, int]]) -> Candidates:
    """Climb from the `most` worthiest of every source and target for some steps, round by round; the best of each."""
    for most, steps in rounds if len(found) else ():
        found = found.pick(best_of_each(found, most))
        try:
            found = climb(look.task, found, steps, look.alpha)
        except BudgetError:
            break
    return found.pick(best_of_each(found, 1))


def of_leaders(look: Look, every: Candidates) -> Candidates:
    """Changes from all classes: first to every target, then to those that are reached most easily."""
    most, steps = FIRST_OF_ALL
    most = max(FEWEST_STARTS, min(most, STARTS_OF_ALL // len(look.task.targets)))
    every = every.pick(best_of_each(every, most))
    try:
        every = climb(look.task, every, steps, look.alpha)
    except BudgetError:
        return every.pick(best_of_each(every, 1))
    best = every.pick(best_of_each(every, 1))
    leaders = best.target[np.argsort(-best.worth, kind="stable")[:LEADERS]]
    leading = halved(look, every.pick(np.flatnonzero(np.isin(every.target, leaders))), LATER_OF_ALL)
    return join([leading, best.pick(np.flatnonzero(~np.isin(best.target, leaders)))])


def skim(look: Look, hint: Hint) -> set[tuple[int, int]]:
    """The pairs that a gradient search goes on with: those that a few steps drive farthest.

    Half of them by where they get, and half by how far that is from where they were, since similar classes are near to
    begin with. With few classes it is all of them, and nothing is asked.
    """
    quick = replace(look, task=look.task.skimmed())
    found = windows(quick.task, hint, look.height, look.width, 1).of_pairs()
    found = found.pick(np.sort(np.argsort(-found.worth, kind="stable")[:SKIMMED]))
    if len(found) <= PAIRS:
        return found.named()
    try:
        climbed = climb(quick.task, softened(found), SKIM_STEPS, look.alpha)
        before = confusion(quick.task, climbed)
    except BudgetError:
        return found.pick(np.argsort(-found.worth, kind="stable")[:PAIRS]).named()
    half = PAIRS // 2
    farthest, rising = (np.argsort(-worth, kind="stable")[:half] for worth in (climbed.worth, climbed.worth - before))
    return climbed.pick(np.union1d(farthest, rising)).named()


def confusion(task: Task, candidates: Candidates) -> NDArray[np.float32]:
    """Mean log-odds (F,) of each candidate's target over the seen images of its source as they are."""
    odds = capped(task.questions.log_odds(task.images[torch.as_tensor(task.seen)])).numpy()
    labels = task.labels[task.seen]
    means = {int(source): odds[labels == source].mean(axis=0) for source in np.unique(labels)}
    pairs = zip(candidates.source.tolist(), candidates.target.tolist(), strict=True)
    return np.array([means[source][target] for source, target in pairs], dtype=np.float32)


def estimate_climbing(look: Look, pairs: int, singles: int, every: int) -> int:
    """About how many queries the gradient search asks before it measures, for its progress bar.

    Parameters
    ----------
    look : Look
    pairs, singles, every : int
        Pairs that it goes on with, images of a source, and images of the changes from all classes of all targets.
    """
    targets = len(look.task.targets)
    skimmed = len(look.task.skimmed().seen)
    total = PASSES * skimmed * (1 + 2 * targets)
    if not look.pairs:
        return total + PASSES * every * sum(most * steps for most, steps in CLIMBS)
    if skimmed * (targets - 1) > PAIRS * singles:
        total += PASSES * SKIM_STEPS * min(skimmed * (targets - 1), SKIMMED)
    starts = max(FEWEST_STARTS, min(FIRST_OF_ALL[0], STARTS_OF_ALL // targets))
    total += PASSES * pairs * singles * sum(most * steps for most, steps in CLIMBS)
    total += PASSES * every * starts * FIRST_OF_ALL[1]
    return total + PASSES * every // targets * LEADERS * sum(most * steps for most, steps in LATER_OF_ALL)
