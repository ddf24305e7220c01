"""Classifiers that answer with labels alone: noticed before a search, and told what labels can tell.

Log-odds say how far an image was driven; a label only whether it flipped. The universal detector's scores are
calibrated on log-odds, so that it has no verdict here, but the share of images that flip is evidence all the same.
"""

import numpy as np
import torch

from onepixel.classifiers import Classifier
from onepixel.errors import UndecidedError
from onepixel.reaches import Patch, SampleImages, response

BETWEEN = 16
"""Images halfway between two classes that are asked; whoever is certain of them all tells labels."""


def asked_between(classifier: Classifier) -> int:
    """How many images `answers_with_labels` asks: none where answers are logits, which labels are not."""
    return BETWEEN if classifier.outputs == "probabilities" else 0


def answers_with_labels(classifier: Classifier, samples: SampleImages) -> bool:
    """Whether images halfway between two classes are answered with one class at exactly 1 and all others at 0.

    Parameters
    ----------
    classifier : Classifier
    samples : SampleImages
        Of two classes at least.
    """
    if not asked_between(classifier):
        return False
    random = np.random.default_rng(0)
    one = random.integers(len(samples), size=BETWEEN)
    other = np.array([random.choice(np.flatnonzero(samples.labels != samples.labels[number])) for number in one])
    between = torch.as_tensor((samples.images[one] + samples.images[other]) / 2)
    answers = classifier(between.to(device=classifier.device, dtype=classifier.dtype)).cpu()
    return bool(((answers == 0) | (answers == 1)).all())


def refuse_labels(
    classifier: Classifier, samples: SampleImages, *, budget: int | None = None, progress: bool = False
) -> None:
    """Measure the share of images that a patch with generic fillings flips, and say so instead of a verdict.

    Raises
    ------
    UndecidedError
        Always; its sentence tells the largest share, of which class, to which, and where.
    BudgetError
        If the budget does not suffice for a single place.
    """
    found = response(classifier, samples, probe=Patch(3), budget=budget, progress=progress)
    source, target, place, share = found.largest()
    row = int(np.flatnonzero(found.sources == source)[0])
    top, left, height, width = found.places[place].tolist()
    raise UndecidedError(
        f"{classifier.name} answers with labels only, and a verdict needs probabilities. What labels tell: a patch of "
        f"{height} x {width} pixels, black, white or noise, in row {top} and column {left} turns {share:.0%} of the "
        f"images of class {source} into class {target} ({found.base[row, target]:.0%} unchanged), which is the most "
        f"that any place and pair of classes shows, in {found.queries:,} queries."
    )
