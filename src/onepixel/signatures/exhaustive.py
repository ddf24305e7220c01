"""The exhaustive engine: every pixel at every value through the whole classifier, in batches of bounded memory.

It is the definition (ECCV 2020, Algorithm 1) carried out literally, for any classifier.
"""

import time

import torch

from onepixel.classifiers import Classifier, to_log_odds
from onepixel.signatures.plan import Advance, Extremes, Plan

BATCH_BYTES = 32 * 2**20
BATCH_IMAGES = 512


def batch_size_for(plan: Plan) -> int:
    """Images per batch: what was asked for, else at most 512 and at most 32 MiB of input."""
    if plan.batch_size is not None:
        return plan.batch_size
    image_bytes = plan.default_image.numel() * plan.default_image.element_size()
    return max(1, min(BATCH_IMAGES, BATCH_BYTES // image_bytes))


def announcement(plan: Plan, engine: str, forward_passes: int, seconds_each: float) -> str:
    """What a run will cost."""
    return (
        f"{engine}: {len(plan.pixels):,} pixels x {len(plan.grid)} values cost {forward_passes:,} forward passes' "
        f"worth of work, about {forward_passes * seconds_each:,.1f} s."
    )


def exhaustive(classifier: Classifier, plan: Plan, advance: Advance) -> Extremes:
    """Find the extremes by P x V + 1 queries; memory is bounded by one batch, whatever H, W and V are."""
    size = batch_size_for(plan)
    base = to_log_odds(classifier(plan.default_image[None]), classifier.outputs)[0]
    pixels, values = len(plan.pixels), len(plan.grid)
    low = torch.full((pixels, len(base)), float("inf"), dtype=base.dtype, device=base.device)
    high = torch.full_like(low, float("-inf"))
    begin = time.perf_counter()
    finished = 0
    for start in range(0, plan.cells, size):
        cells = torch.arange(start, min(start + size, plan.cells), device=plan.pixels.device)
        odds = to_log_odds(classifier(plan.images(cells)), classifier.outputs)
        owner = (cells // values).to(odds.device)[:, None].expand_as(odds)
        low.scatter_reduce_(0, owner, odds, "amin")
        high.scatter_reduce_(0, owner, odds, "amax")
        if start == 0:
            seconds = (time.perf_counter() - begin) / len(cells)
            plan.say(announcement(plan, "exhaustive", plan.cells + 1, seconds))
        done = (start + len(cells)) // values
        advance(done - finished)
        finished = done
    return Extremes(low.T, high.T, base, queries=plan.cells + 1, engine="exhaustive")
