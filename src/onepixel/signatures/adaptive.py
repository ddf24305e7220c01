"""The adaptive engine: far fewer queries than the definition asks for, of any classifier, with an estimated error.

Every pixel is asked at a few values first; then, round by round, only where the extreme of some class may still
move. What lies between two answers is guessed from them and from their neighbours: a black box promises nothing
there, so the error is an estimate, made from random checks at the end. Every extreme that is returned was
answered by the classifier: `low` is never below the true one, and `high` never above it.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from onepixel.classifiers import Classifier, logits_to_log_odds, to_log_odds
from onepixel.errors import BudgetError
from onepixel.signatures.exhaustive import batch_size_for
from onepixel.signatures.plan import Advance, Extremes, Plan

COARSE_VALUES = 13
"""How many values every pixel is asked at first, both ends of the grid among them."""

PURSUED_PROBABILITY = 4e-5
PURSUED_LOG_ODDS = 0.02
"""A guess is asked about where it exceeds an extreme found so far by more than one of these."""

CHECKS = 500
CHECK_TOLERANCE = 1e-3
CONFIDENCE = 0.95
"""Random checks at the end; what counts as a move, in probability; and how sure the statement about them is."""

WORK_NUMBERS = 2**21
"""Pixels x values x classes that are worked on at once."""


class Questions:
    """Asks a classifier about the cells of a plan: in bounded batches, within the budget, and no image twice.

    A cell whose value the pixel has anyway is the default image itself, which is asked once, at the start.
    """

    def __init__(self, classifier: Classifier, plan: Plan) -> None:
        self.classifier = classifier
        self.plan = plan
        self.queries = 0
        self.base = self._ask(plan.default_image[None])[0]

    def _ask(self, images: Tensor) -> Tensor:
        self.queries += len(images)
        return to_log_odds(self.classifier(images), self.classifier.outputs)

    def __call__(self, cells: Tensor) -> Tensor:
        """Log-odds (N, K) of cells (N,) that were not asked before.

        Raises
        ------
        BudgetError
            Before any of them is asked, if they do not all fit into the budget.
        """
        answers = self.base.expand(len(cells), -1).clone()
        others = torch.nonzero(~same_as_default(self.plan, cells))[:, 0]
        budget = self.plan.budget
        if budget is not None and self.queries + len(others) > budget:
            shared = self.plan.shared
            share = f" (a share of {budget:,} for each of {shared.images} default images)" if shared.budget else ""
            raise BudgetError(
                f"After {self.queries:,} queries the signature is not finished, and the next {len(others):,} "
                f"exceed the budget of {shared.budget or budget:,}{share}; give a larger one or visit fewer pixels."
            )
        size = batch_size_for(self.plan)
        for start in range(0, len(others), size):
            some = others[start : start + size]
            answers[some] = self._ask(self.plan.images(cells[some]))
        return answers


def same_as_default(plan: Plan, cells: Tensor) -> Tensor:
    """Which cells (N,) are the default image itself; boolean (N,)."""
    rows, columns = plan.pixels[cells // len(plan.grid)].unbind(1)
    return (plan.default_image[:, rows, columns] == plan.grid[cells % len(plan.grid)]).all(dim=0)


def coarse_values(values: int) -> Tensor:
    """Which values every pixel is asked at first, boolean (V,): an even spread with both ends."""
    spread = torch.zeros(values, dtype=torch.bool)
    spread[torch.linspace(0, values - 1, min(COARSE_VALUES, values)).round().long()] = True
    return spread


def guesses(log_p: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Guess what lies between the known values, as one moves along the grid at each pixel.

    The logits of a network of ReLUs are piecewise linear in one pixel's value, and log-probabilities are logits up
    to a number per image, which drops out of log-odds. Two guesses are made in each gap: the chord, as if it were
    one linear piece; and the tent, as if the pieces on both sides went on until they meet.

    Parameters
    ----------
    log_p : Tensor of shape (P, V, K)
        Log-probabilities; used only where known.
    known : boolean Tensor of shape (P, V)
        Both ends of every row are known.

    Returns
    -------
    pixel, value, left : Tensors of shape (N,)
        Where the guesses are, and the nearest known value on the left, which names the gap.
    guessed : list of Tensors of shape (N, K)
        Log-odds, one tensor per kind of guess.
    """
    values = known.shape[1]
    order = torch.arange(values, device=known.device)
    before = torch.where(known, order, -1).cummax(dim=1).values
    after = torch.where(known, order, values).flip(1).cummin(dim=1).values.flip(1)
    pixel, value = torch.nonzero(~known, as_tuple=True)
    left, right = before[pixel, value], after[pixel, value]
    far_left = before[pixel, (left - 1).clamp(min=0)]
    far_right = after[pixel, (right + 1).clamp(max=values - 1)]

    at_left, at_right = log_p[pixel, left], log_p[pixel, right]
    slope_left = (at_left - log_p[pixel, far_left]) / (left - far_left).clamp(min=1)[:, None]
    slope_right = (log_p[pixel, far_right] - at_right) / (far_right - right).clamp(min=1)[:, None]
    place = ((value - left) / (right - left))[:, None].to(log_p.dtype)
    chord = torch.lerp(at_left, at_right, place)
    from_left = at_left + slope_left * (value - left)[:, None] - chord
    from_right = at_right - slope_right * (right - value)[:, None] - chord
    # The first gap has nothing on its left to continue, the last one nothing on its right.
    from_left, from_right = (
        torch.where((left == 0)[:, None], from_right, from_left),
        torch.where((right == values - 1)[:, None], from_left, from_right),
    )
    blend = torch.lerp(from_left, from_right, place)
    nearest = torch.where(from_left.abs() < from_right.abs(), from_left, from_right)
    tent = chord + torch.where(from_left * from_right > 0, nearest, blend)
    return pixel, value, left, [logits_to_log_odds(chord), logits_to_log_odds(tent)]


def worth_asking(odds: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """The most promising value in each gap where a guess exceeds an extreme found so far of some class.

    Parameters
    ----------
    odds : Tensor of shape (P, V, K)
        Log-odds; used only where known.
    known : boolean Tensor of shape (P, V)

    Returns
    -------
    pixel, value : Tensors of shape (M,)
    """
    log_p = logsigmoid(odds)
    pixel, value, left, guessed = guesses(log_p, known)
    # Probabilities kept inside their floor no longer sum to 1, but guesses do; compared is like with like.
    low, high = known_extremes(logits_to_log_odds(log_p.flatten(0, 1)).view_as(odds), known)
    low, high = low[pixel], high[pixel]
    promise = torch.zeros(len(pixel), dtype=odds.dtype, device=odds.device)
    for guess in guessed:
        beyond = guess.clamp(min=low, max=high)
        in_odds = (guess - beyond).abs() / PURSUED_LOG_ODDS
        in_probability = (guess.sigmoid() - beyond.sigmoid()).abs() / PURSUED_PROBABILITY
        promise = torch.maximum(promise, torch.maximum(in_odds, in_probability).amax(dim=1))
    gap = pixel * known.shape[1] + left
    best = torch.zeros(known.numel(), dtype=odds.dtype, device=odds.device)
    best.scatter_reduce_(0, gap, promise, "amax")
    chosen = torch.nonzero((promise > 1) & (promise == best[gap]))[:, 0]
    # Equal promises within a gap lie next to each other; one of them is enough.
    again = torch.zeros_like(chosen, dtype=torch.bool)
    again[1:] = gap[chosen[1:]] == gap[chosen[:-1]]
    chosen = chosen[~again]
    return pixel[chosen], value[chosen]


def known_extremes(odds: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Lowest and highest log-odds (P, K) among the known ones of (P, V, K)."""
    unknown = ~known[..., None]
    return odds.masked_fill(unknown, float("inf")).amin(1), odds.masked_fill(unknown, float("-inf")).amax(1)


def search(ask: Questions, known: Tensor, first_pixel: int, advance: Advance) -> tuple[Tensor, Tensor]:
    """Ask about some neighbouring pixels until no extreme seems to move; `known` (P, V) is kept up to date.

    Returns
    -------
    low, high : Tensors of shape (P, K)
    """
    pixels, values = known.shape
    odds = torch.zeros(pixels, values, len(ask.base), dtype=torch.float64, device=ask.base.device)
    pixel, value = torch.nonzero(known, as_tuple=True)
    active = torch.arange(pixels, device=known.device)
    while len(pixel):
        odds[pixel, value] = ask((first_pixel + pixel) * values + value).double()
        known[pixel, value] = True
        where, value = worth_asking(odds[active], known[active])
        pixel = active[where]
        remaining = torch.nonzero(torch.bincount(pixel, minlength=pixels))[:, 0]
        advance(len(active) - len(remaining))
        active = remaining
    return known_extremes(odds, known)


def upper_bound(moved: int, checks: int) -> float:
    """The largest share that is compatible with `moved` out of `checks` (Clopper and Pearson 1934, one-sided)."""
    from scipy.special import betaincinv  # takes long to import, and few signatures are adaptive

    return float(betaincinv(moved + 1, checks - moved, CONFIDENCE)) if moved < checks else 1.0


def check(ask: Questions, known: Tensor, low: Tensor, high: Tensor) -> dict[str, Any]:
    """Ask about random cells that were not asked yet, widen `low` and `high` (P, K) in place, and judge the search.

    Returns
    -------
    dict
        The checks, how many moved an extreme, and `cells_at_most`, the share of all cells that would with
        confidence 0.95. A cell that was asked cannot move anything; it counts as one that does not.
    """
    unasked = np.flatnonzero(~known.cpu().numpy())
    count = min(CHECKS, len(unasked))
    # A fixed seed: the same classifier gets the same signature every time.
    drawn = np.random.default_rng(0).choice(unasked, count, replace=False)
    cells = torch.as_tensor(drawn, device=known.device)
    odds = ask(cells).double()
    owner = cells // known.shape[1]
    beyond = odds.clamp(min=low[owner], max=high[owner])
    moves = (odds.sigmoid() - beyond.sigmoid()).abs().amax(dim=1)
    moved = int((moves > CHECK_TOLERANCE).sum())
    everywhere = owner[:, None].expand_as(odds)
    low.scatter_reduce_(0, everywhere, odds, "amin")
    high.scatter_reduce_(0, everywhere, odds, "amax")
    share = 0.0 if count == len(unasked) else upper_bound(moved, count) * len(unasked) / known.numel()
    statement = (
        f"with {100 * CONFIDENCE:g} % confidence at most {100 * share:.2g} % of the cells "
        f"move by more than {CHECK_TOLERANCE:g} in probability"
    )
    return {
        "checks": count,
        "moved": moved,
        "largest_move": float(moves.max()) if count else 0.0,
        "tolerance": CHECK_TOLERANCE,
        "confidence": CONFIDENCE,
        "cells_at_most": share,
        "statement": statement,
    }


def adaptive(classifier: Classifier, plan: Plan, advance: Advance) -> Extremes:
    """Find the extremes by asking where they may be; the error is estimated, and returned in `details`.

    Memory grows by two bytes per cell; everything else is bounded, by one batch and by `WORK_NUMBERS`.

    Raises
    ------
    BudgetError
        Before anything is asked if the budget does not even suffice for the first values and the checks; later
        if the next round of questions would exceed it.
    """
    pixels, values = len(plan.pixels), len(plan.grid)
    default = same_as_default(plan, torch.arange(plan.cells, device=plan.pixels.device)).view(pixels, values)
    known = default | coarse_values(values).to(default.device)
    coarse, rest = int((known & ~default).sum()), int((~known).sum())
    plan.require(1 + coarse + min(CHECKS, rest), "give a larger one or visit fewer pixels")
    ask = Questions(classifier, plan)
    step = max(1, WORK_NUMBERS // (values * len(ask.base)))
    found = [search(ask, known[start : start + step], start, advance) for start in range(0, pixels, step)]
    low, high = (torch.cat(parts) for parts in zip(*found, strict=True))
    estimate = check(ask, known, low, high)
    low, high = low.to(ask.base.dtype), high.to(ask.base.dtype)
    return Extremes(
        low.T,
        high.T,
        ask.base,
        queries=ask.queries,
        engine="adaptive",
        note=estimate["statement"],
        details={"error_estimate": estimate},
    )
