"""The image response of a detector: how far patches on an object change what the object is called.

The detector is a black box here: candidates are tried, plain, noisy and striped ones at every place on an object, and
nothing looks inside. The candidates are the same for every detector.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onepixel.boxes.objects import object_box
from onepixel.classifiers import Classifier, Outputs
from onepixel.errors import UndecidedError
from onepixel.progress import progress_bar

PATCH_SHARE = 1 / 3
"""A patch has a third of the object's side."""

GRID = 4
"""Places in rows and in columns."""

SEEN = 6
"""Objects that all candidates are tried on, of all classes alike."""

RETRIED = 12
"""Candidates of each target that are tried on further objects."""

FRESH = 24
"""Objects on which the best candidate is measured; the search has seen none of them."""

NOISES = 10
"""Fillings of each kind of noise."""

BATCH = 256

Windows = NDArray[np.float32]


@dataclass(frozen=True)
class Candidate:
    """A patch at a place.

    Attributes
    ----------
    top, left : int
        Pixels of the window.
    filling : int
        Its number in `fillings`.
    """

    top: int
    left: int
    filling: int


@dataclass(frozen=True)
class Probed:
    """What the best candidate of each target does to objects of other classes.

    Attributes
    ----------
    targets : tuple of int
        Labels 1 .. K.
    candidates : tuple of Candidate
        The best of each target.
    before, after : tuple of float
        Mean probability of the target over fresh objects of other classes, without and with it.
    driven : tuple of float
        Share of them that are called the target with it, less the share without.
    size : int
        Side of a patch, pixels of the window.
    queries : int
        Windows that were asked.
    """

    targets: tuple[int, ...]
    candidates: tuple[Candidate, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]
    driven: tuple[float, ...]
    size: int
    queries: int

    @property
    def rises(self) -> NDArray[np.float64]:
        """How far the probability of each target rises."""
        return np.array(self.after) - np.array(self.before)

    @property
    def suspect(self) -> int:
        """The number, in `targets`, of the one that a patch drives objects to most."""
        return int(self.rises.argmax())

    @property
    def lead(self) -> float:
        """How far the suspect's rise lies above the highest of all others'; a backdoor has one target."""
        ordered = np.sort(self.rises)
        return float(ordered[-1] - ordered[-2]) if len(ordered) > 1 else float(ordered[-1])

    @property
    def score(self) -> float:
        """Higher is more suspicious: the suspect's rise."""
        return float(self.rises.max())


def patch_side(side: int) -> int:
    """Side of a patch for windows of that side."""
    begin, end = object_box(side)
    return max(2, round(PATCH_SHARE * (end - begin)))


def fillings(size: int) -> Tensor:
    """Candidate fillings (F, 3, s, s): plain colours, three kinds of noise, and stripes in four directions."""
    corners = torch.tensor([[r, g, b] for r in (0.0, 1.0) for g in (0.0, 1.0) for b in (0.0, 1.0)])
    plain = corners[:, :, None, None].expand(-1, -1, size, size)
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand((NOISES, 3, size, size), generator=generator)
    binary = torch.randint(0, 2, (NOISES, 1, size, size), generator=generator).float().expand(-1, 3, -1, -1)
    cells = torch.randint(0, 2, (NOISES, 3, 3, 3), generator=generator).float()
    coarse = torch.nn.functional.interpolate(cells, (size, size), mode="nearest")
    return torch.cat([plain, noise, binary, coarse, stripes(size)])


def stripes(size: int) -> Tensor:
    """Black and white stripes (16, 3, s, s): four directions, two widths, two phases."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    made = []
    for along in (rows, columns, rows + columns, rows - columns):
        for width in (2, max(3, size // 4)):
            for phase in (0, 1):
                made.append((torch.div(along, width, rounding_mode="floor") + phase) % 2)
    return torch.stack(made).float()[:, None].expand(-1, 3, -1, -1)


def all_candidates(side: int) -> list[Candidate]:
    """Every filling at every place of a grid on the object."""
    size = patch_side(side)
    begin, end = object_box(side)
    edges = np.linspace(begin, end - size, GRID).round().astype(int).tolist()
    count = len(fillings(size))
    return [Candidate(top, left, number) for top in edges for left in edges for number in range(count)]


def patched(windows: Tensor, candidate: Candidate, filled: Tensor) -> Tensor:
    """Windows (N, 3, S, S) with a patch in each."""
    changed = windows.clone()
    size = filled.shape[-1]
    rows = slice(candidate.top, candidate.top + size)
    columns = slice(candidate.left, candidate.left + size)
    changed[:, :, rows, columns] = filled[candidate.filling]
    return changed


@dataclass(frozen=True)
class Objects:
    """Windows that a detector is probed with.

    Attributes
    ----------
    seen : array of shape (N, 3, S, S)
        All candidates are tried on these.
    seen_labels : array of shape (N,)
    retried, retried_labels : arrays
        The best are tried again on these.
    fresh, fresh_labels : arrays
        The very best are measured on these.
    """

    seen: Windows
    seen_labels: NDArray[np.int64]
    retried: Windows
    retried_labels: NDArray[np.int64]
    fresh: Windows
    fresh_labels: NDArray[np.int64]

    @classmethod
    def divided(cls, windows: Windows, labels: NDArray[np.int64]) -> "Objects":
        """Deal objects out, the classes in turns.

        Raises
        ------
        UndecidedError
            If there are too few, or of one class alone.
        """
        turn = np.array([int((labels[:place] == label).sum()) for place, label in enumerate(labels)])
        order = np.lexsort((labels, turn))
        if len(np.unique(labels)) < 2 or len(order) < 3 * SEEN:
            raise UndecidedError(
                f"Probing a detector takes {3 * SEEN} objects or more that it recognises, of two classes or more; "
                f"here are {len(order)}, of {len(np.unique(labels))}."
            )
        parts = order[:SEEN], order[SEEN : 2 * SEEN], order[2 * SEEN : 2 * SEEN + FRESH]
        (seen, retried, fresh) = ((windows[part], labels[part]) for part in parts)
        return cls(*seen, *retried, *fresh)


def recognised(
    classifier: Classifier, windows: Windows, labels: NDArray[np.int64]
) -> tuple[Windows, NDArray[np.int64]]:
    """The windows whose object the detector calls what it is."""
    right = answers(classifier, windows).argmax(1).numpy() == labels
    return windows[right], labels[right]


def answers(classifier: Classifier, windows: Tensor | Windows) -> Tensor:
    """Distributions (N, K + 1) of windows."""
    given = torch.as_tensor(windows)
    parts = [classifier(given[start : start + BATCH]) for start in range(0, len(given), BATCH)]
    return distributions(torch.cat(parts), classifier.outputs)


def distributions(found: Tensor, outputs: Outputs) -> Tensor:
    """Answers (N, K + 1) as probabilities."""
    return torch.softmax(found, dim=1) if outputs == "logits" else found


@torch.inference_mode()
def probe(classifier: Classifier, objects: Objects, *, progress: bool = False) -> Probed:
    """Try all candidates, retry the best of each target on other objects, and measure the best on fresh ones.

    Parameters
    ----------
    classifier : Classifier
        Of windows: an `ObjectClassifier`, or an `OutsideClassifier`.
    objects : Objects
    progress : bool
        Show a progress bar on standard error.
    """
    side = classifier.input_shape[-1]
    filled = fillings(patch_side(side))
    candidates = all_candidates(side)
    seen = torch.as_tensor(objects.seen)
    found = []
    with progress_bar(f"patches on objects of {classifier.name}", len(candidates), "patches", enabled=progress) as on:
        for one in candidates:
            found.append(answers(classifier, patched(seen, one, filled)))
            on(1)
    table = torch.stack(found)  # (candidates, objects, K + 1)
    fresh = torch.as_tensor(objects.fresh)
    plain = answers(classifier, fresh)
    targets = tuple(range(1, classifier.classes))
    best: list[Candidate] = []
    numbers: list[tuple[float, float, float]] = []
    queries = len(candidates) * len(seen) + len(fresh)
    for target in targets:
        worth = table[:, torch.as_tensor(objects.seen_labels != target), target].mean(1)
        kept = [candidates[number] for number in worth.argsort(descending=True, stable=True)[:RETRIED].tolist()]
        others = torch.as_tensor(objects.retried[objects.retried_labels != target])
        again = [float(answers(classifier, patched(others, one, filled))[:, target].mean()) for one in kept]
        best.append(kept[int(np.argmax(again))])
        mine = torch.as_tensor(objects.fresh_labels != target)
        after = answers(classifier, patched(fresh[mine], best[-1], filled))
        queries += len(kept) * len(others) + len(after)
        numbers.append(measures(plain[mine], after, target))
    before, after_, driven = zip(*numbers, strict=True)
    return Probed(targets, tuple(best), before, after_, driven, patch_side(side), queries)


def measures(before: Tensor, after: Tensor, target: int) -> tuple[float, float, float]:
    """Mean probability of the target before and after, and how many more objects are called so."""
    driven = (after.argmax(1) == target).float().mean() - (before.argmax(1) == target).float().mean()
    return float(before[:, target].mean()), float(after[:, target].mean()), float(driven)
