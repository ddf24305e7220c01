"""`onepixel.reach`: the searches by their names, and what they have in common."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from onepixel.classifiers import Classifier
from onepixel.classifiers.gradients import gives_gradients
from onepixel.errors import BudgetError, UndecidedError, UsageError
from onepixel.progress import progress_bar
from onepixel.reaches.asking import Questions
from onepixel.reaches.candidates import Candidates, best_of_each, join, measure
from onepixel.reaches.climbing import by_gradient, estimate_climbing
from onepixel.reaches.composed import Tried, ascend, blocks, composed_hint, pixel_values, survey_within
from onepixel.reaches.families import Blend, Family, Patch, Warp
from onepixel.reaches.looking import PAIRS, WINDOWS, Look, by_worth, promising
from onepixel.reaches.natural import MOST_WINDOWS, natural_reach
from onepixel.reaches.rivals import estimate_rivals, rival_reach
from onepixel.reaches.samples import SampleImages, sample_images
from onepixel.reaches.task import FRESH_OF_ALL, Numbers, Task, capped
from onepixel.reaches.textures import estimate_textures, texture_reach
from onepixel.reaches.value import EVERY_SOURCE, Reach
from onepixel.reaches.warps import by_warping, estimate_warps

ASCENDED = 30
"""Pairs that the composed search ascends from in its first round, and as many changes from all classes; half in the
second."""

HINT_SHARE = 0.5
"""The part of a budget that the first look at every pixel or block may take."""

RESERVED_SHARE, RESERVED_AT_MOST = 5, 20_000
"""One part in so many of a budget, and so many queries, are kept back for measuring at most."""

ASCENT_SHARES = (2 / 3, 1.0)
"""The part of what is left of a budget that each round of ascent may take: fewer pairs, but their whole windows."""

BLOCKS_AT_MOST = 60_000
"""Queries of that look where there is no budget."""


@dataclass(frozen=True)
class Besides:
    """What is measured of findings besides how far they reach: what a `Reach` has under these names."""

    natural: bool = False
    rivals: bool = False
    textures: bool = False


def reach(
    classifier: Classifier,
    images: ArrayLike | SampleImages,
    labels: ArrayLike | None = None,
    *,
    family: Family = Patch(5),  # noqa: B008 (frozen)
    search: str = "auto",
    budget: int | None = None,
    natural: bool = True,
    pairs: bool = True,
    rivals: bool | None = None,
    progress: bool = False,
) -> Reach:
    """Find how far images of each class, and of all classes at once, can be driven to each other class.

    Parameters
    ----------
    classifier : Classifier
    images : array of shape (N, C, H, W), or SampleImages
        A few real images of the domain; eight of each class are plenty.
    labels : array of shape (N,), optional
        What the images are said to be; the classifier's own confident answers are used.
    family : Patch, Blend, Warp, or another of `FAMILIES`
        What may be changed. Warps are looked for by gradient alone, from all classes at once.
    search : {"auto", "composed", "gradient"}
        "composed" asks queries only; "gradient" needs a torch module, and is what "auto" chooses for one.
    budget : int, optional
        Images that may be asked at most (the sample images themselves are not counted); never exceeded. For the
        gradient search a step forwards and backwards counts as three.
    natural : bool
        Measure what windows of real images of the target reach, too, which takes six queries for one; NaN otherwise.
    pairs : bool
        Look for changes from each class to each other one, too, and not only for those from all classes at once.
    rivals : bool, optional
        Look at the places of the farthest patches for how far other targets get there, too; the gradient search alone
        does, where it looks for pairs. None does where there are more pairs than are taken further.
    progress : bool
        Show a progress bar on standard error.

    Returns
    -------
    Reach

    Raises
    ------
    UsageError
        If an argument is out of range, or "gradient" or a warp is asked of what is no torch module.
    UndecidedError
        If the classifier is sure of fewer than two classes of the images, or the budget does not suffice for anything.

    Examples
    --------
    >>> import numpy, torch, onepixel
    >>> module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 2))
    >>> _ = module[1].weight.data.copy_(torch.linspace(-3, 3, 72).view(2, 36))
    >>> images = numpy.stack([numpy.zeros((1, 6, 6)), numpy.ones((1, 6, 6))]).repeat(4, axis=0)
    >>> classifier = onepixel.as_classifier(module, input_shape=(1, 6, 6))
    >>> onepixel.reach(classifier, sample_images(classifier, images, confidence=0.5)).over_all.shape[0]
    2
    """
    samples = images if isinstance(images, SampleImages) else sample_images(classifier, images, labels)
    chosen = choose_search(classifier, search)
    warp = family if isinstance(family, Warp) else None
    if warp:
        if chosen != "gradient":
            raise UsageError("Warps are looked for by gradient alone.")
        natural = pairs = False
    height, width = classifier.input_shape[1:]
    size = family.places(height, width)[0, 2:]
    questions = Questions(classifier, budget)
    task = Task.of(questions, samples)
    look = Look(task, int(size[0]), int(size[1]), family.alpha, pairs)
    if not task.pairs():
        raise UndecidedError("The images do not suffice to search with some and measure with others.")
    if rivals is None:
        rivals = len(task.sources) * (len(task.targets) - 1) > PAIRS
    rivals = rivals and pairs and chosen == "gradient" and family.alpha == 1
    besides = Besides(natural, rivals, textures=isinstance(family, Blend))
    total = estimate(look, "warp" if warp else chosen, besides)
    with progress_bar(f"reach of {classifier.name}", total, "queries", enabled=progress) as advance:
        questions.advance = advance
        questions.reserved = 0 if budget is None else reserve(look, budget, besides)
        found = by_warping(look, warp) if warp else SEARCHES[chosen](look)
        questions.reserved = 0
        return measured(look, found, family, chosen, besides)


def reserve(look: Look, budget: int, besides: Besides) -> int:
    """Queries of a budget that are kept back to measure what a search finds."""
    share = min(budget // RESERVED_SHARE, RESERVED_AT_MOST)
    if besides.natural:
        return share
    task = look.task
    each = int(np.bincount(task.labels[task.fresh]).max())
    pairs = min(PAIRS, len(task.sources) * (len(task.targets) - 1)) if look.pairs else 0
    every = sum(len(task.members(EVERY_SOURCE, int(target), fresh=True)) for target in task.targets)
    textures = estimate_textures(len(task.targets), FRESH_OF_ALL) if besides.textures else 0
    return min(share, len(task.fresh) + pairs * each + every + textures)


def choose_search(classifier: Classifier, search: str) -> str:
    """The search of that name, or for "auto" the one that the classifier allows.

    Raises
    ------
    UsageError
        If there is no such search, or it needs gradients and the classifier gives none.
    """
    inside = gives_gradients(classifier)
    if search == "auto":
        return "gradient" if inside else "composed"
    if search not in SEARCHES:
        raise UsageError(f"Expected one of auto, {', '.join(SEARCHES)} for search but got {search!r}.")
    if search == "gradient" and not inside:
        raise UsageError(f"The gradient search looks inside torch modules; {classifier.name} gives no gradients.")
    return search


def by_composing(look: Look) -> Candidates:
    """The composed search: hints from single pixels or blocks, then coordinate ascent from the most promising pairs."""
    task = look.task
    most = BLOCKS_AT_MOST if task.questions.left is None else int(HINT_SHARE * task.questions.left)
    hint = composed_hint(survey_within(task, most), look.alpha)
    found = promising(look, hint, by_worth(look, hint) if look.pairs else set())
    found = found.pick(best_of_each(found, 1))
    # Windows have 25 pixels or so; on larger ones, blocks are turned together.
    turned = max(1, round(max(look.height, look.width) / 5))
    kept, tried = ASCENDED, Tried()
    for share in ASCENT_SHARES:
        every = np.flatnonzero(found.source == EVERY_SOURCE)
        single = np.flatnonzero(found.source != EVERY_SOURCE)
        every, single = every[np.argsort(-found.worth[every])], single[np.argsort(-found.worth[single])]
        kept = held(look, found, every, single, turned, kept, share)
        first = np.concatenate([every[:kept], single[:kept]])
        rest = np.setdiff1d(np.arange(len(found)), first)
        found = join([ascend(task, found.pick(np.sort(first)), turned, look.alpha, tried), found.pick(rest)])
        kept //= 2
    return found


def held(look: Look, found: Candidates, every: Numbers, single: Numbers, turned: int, most: int, share: float) -> int:
    """How many of the worthiest of both sorts a share of the budget lets ascend, each over its whole window."""
    task = look.task
    if task.questions.left is None:
        return most
    # A single pixel has one of the values already.
    turns = len(blocks(look.height, look.width, turned)) * (len(pixel_values(task.size[0])) - (turned == 1))
    for kept in range(most, 1, -1):
        numbers = np.concatenate([every[:kept], single[:kept]])
        asked = sum(map(len, task.members_of(found.source[numbers], found.target[numbers], fresh=False)))
        if turns * asked <= share * task.questions.left:
            return kept
    return 1


SEARCHES: dict[str, Callable[[Look], Candidates]] = {"composed": by_composing, "gradient": by_gradient}
"""Every search by its name."""


def measured(look: Look, found: Candidates, family: Family, search: str, besides: Besides) -> Reach:
    """Measure what a search found on fresh images, the worthiest first where the budget is short."""
    task = look.task
    order = np.argsort(-found.worth, kind="stable")
    found = found.pick(order)
    base = base_table(task)
    cost = np.cumsum(
        [len(task.members(int(s), int(t), fresh=True)) for s, t in zip(found.source, found.target, strict=True)]
    )
    left = task.questions.left
    held = len(found) if left is None else int((cost <= left).sum())
    if not held:
        raise BudgetError(f"A budget of {task.questions.budget:,} queries is too small to look for anything.")
    found = found.pick(np.arange(held))
    log_odds, flipped = measure(task, found, look.alpha, fresh=True)
    order = np.argsort(-log_odds, kind="stable")
    found, log_odds, flipped = found.pick(order), log_odds[order], flipped[order]
    unknown = np.full(len(found), np.nan, dtype=np.float32)
    return Reach(
        sources=task.sources,
        targets=task.targets,
        source=found.source,
        target=found.target,
        place=found.place,
        log_odds=log_odds,
        flipped=flipped,
        natural=natural_reach(task, found, look.alpha) if besides.natural else unknown,
        rival=rival_reach(task, found, log_odds) if besides.rivals else unknown,
        texture=texture_reach(task, found, log_odds, look.alpha) if besides.textures else unknown,
        base=base,
        fillings=found.filling.numpy().astype(np.float32),
        family=family.name,
        search=search,
        alpha=look.alpha,
        displacement=family.displacement if isinstance(family, Warp) else 0.0,
        queries=task.questions.asked,
        classifier=task.classifier.name,
    )


def base_table(task: Task) -> NDArray[np.float32]:
    """Mean log-odds (S, T) of the targets over the unchanged fresh images of each source; NaN if too many."""
    table = np.full((len(task.sources), len(task.targets)), np.nan, dtype=np.float32)
    if not task.questions.affords(len(task.fresh)):
        return table
    odds = capped(task.questions.log_odds(task.images[torch.as_tensor(task.fresh)]))[:, torch.as_tensor(task.targets)]
    for row, source in enumerate(task.sources):
        own = np.flatnonzero(task.labels[task.fresh] == source)
        if len(own):
            table[row] = odds[torch.as_tensor(own)].mean(0).numpy()
    return table


def estimate(look: Look, search: str, besides: Besides) -> int:
    """About how many queries a search will ask, for its progress bar."""
    task = look.task
    pairs = min(PAIRS, len(task.sources) * (len(task.targets) - 1)) if look.pairs else 0
    singles = max(1, len(task.seen) // len(task.sources))
    every = len(task.targets) * len(task.members(EVERY_SOURCE, -1, fresh=False))
    one_round = pairs * singles + every
    windows_each = 1 + MOST_WINDOWS if besides.natural else 1
    total = WINDOWS * one_round + windows_each * (pairs * 5 + len(task.targets) * FRESH_OF_ALL)
    total += estimate_textures(len(task.targets), FRESH_OF_ALL) if besides.textures else 0
    if search == "warp":
        total += estimate_warps(len(task.targets), every)
    elif search == "gradient":
        total += estimate_climbing(look, pairs, singles, every)
        total += estimate_rivals(len(task.targets), singles, every // len(task.targets)) if besides.rivals else 0
    else:
        total += survey_within(task, BLOCKS_AT_MOST).cost + 40 * len(ASCENT_SHARES) * one_round
    budget = task.questions.budget
    return total if budget is None else min(total, budget)
