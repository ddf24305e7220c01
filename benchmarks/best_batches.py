"""The exhaustive loop in the batches and the memory layout that are fastest: what every engine is set against."""

from collections.abc import Callable
from functools import partial

import torch

from onepixel.classifiers import ModuleClassifier, to_log_odds
from onepixel.signatures import Plan
from timing import fastest

BATCH_SIZES = (32, 128, 512, 2048)
LARGEST_BATCH_NUMBERS = 2**23


def ask_in_batches(
    classifier: ModuleClassifier, plan: Plan, size: int, images: int, layout: torch.memory_format
) -> None:
    """The exhaustive loop on some images, in batches of one size and layout."""
    for start in range(0, images, size):
        cells = torch.arange(start, min(start + size, images), device=plan.pixels.device) % plan.cells
        odds = to_log_odds(classifier(plan.images(cells).contiguous(memory_format=layout)), classifier.outputs)
        odds.amax(0)


def best_batches(
    classifier: ModuleClassifier, plan: Plan, images: int, repeats: int
) -> tuple[Callable[[], None], int, str]:
    """The fastest batched run, how many images it asks, and its name; every size is asked at least one batch."""
    found: list[tuple[float, Callable[[], None], int, str]] = []
    for layout, name in ((torch.contiguous_format, "contiguous"), (torch.channels_last, "channels last")):
        classifier.module.to(memory_format=layout)
        for size in (size for size in BATCH_SIZES if size * plan.default_image.numel() <= LARGEST_BATCH_NUMBERS):
            asked = max(images, size)
            run = partial(ask_in_batches, classifier, plan, size, asked, layout)
            seconds = fastest({"": run}, classifier.device, repeats)[""] / asked
            found.append((seconds, partial(in_layout, classifier, layout, run), asked, f"batches of {size}, {name}"))
    classifier.module.to(memory_format=torch.contiguous_format)
    return min(found, key=lambda each: each[0])[1:]


def in_layout(classifier: ModuleClassifier, layout: torch.memory_format, run: Callable[[], None]) -> None:
    """Run with the weights in that layout."""
    classifier.module.to(memory_format=layout)
    run()
    classifier.module.to(memory_format=torch.contiguous_format)
