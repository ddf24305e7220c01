"""Blocks of pixels set to values on several images, by recomputing only the windows that a block can change.

The one-pixel signature sets single pixels of constant images. A search on real images sets blocks of pixels: to the
engine a block is a larger window to begin with, and everything after the image is computed as for a pixel.
"""

import numpy as np
import torch
from torch import Tensor

from onepixel.classifiers import ModuleClassifier, to_log_odds
from onepixel.errors import ExactnessError
from onepixel.signatures.incremental.check import TOLERANCES
from onepixel.signatures.incremental.classes import Numbers, classify, windows_of
from onepixel.signatures.incremental.cost import count, total_cost
from onepixel.signatures.incremental.engine import Group, in_threads, pixel_groups, values_at_once
from onepixel.signatures.incremental.execution import Execution
from onepixel.signatures.incremental.lowering import lower
from onepixel.signatures.incremental.program import IMAGE, Program
from onepixel.signatures.incremental.spots import Axes
from onepixel.signatures.incremental.tracing import NotIncrementalError, trace
from onepixel.signatures.incremental.windows import Window, inside
from onepixel.signatures.plan import Advance

WORTHWHILE = 0.25
"""Of a full forward pass a block's windows cost at most so much on average: with few values, asking is faster from
there on. Measured on one core: 1.7 times as fast as batches at 19 % (LeNet-5), 0.9 times at 28 % (VGG-10), 0.5 times at
46 % (ResNet-20)."""


def still(answers: int) -> None:
    """Show no progress."""


CHECKED = 16
"""Cells that are recomputed by full forward passes after every run."""


def block_log_odds(
    classifier: ModuleClassifier, images: Tensor, places: Numbers, values: Tensor, advance: Advance = still
) -> Tensor:
    """Log-odds of every image with every block set to every value.

    Parameters
    ----------
    classifier : ModuleClassifier
    images : Tensor of shape (M, C, H, W)
    places : array of shape (B, 4)
        Top, left, height and width of every block; those that are not at the lower or right border are of one size.
    values : Tensor of shape (V, C)
    advance : callable
        Called with every number of answers that are done.

    Returns
    -------
    Tensor of shape (M, B, V, K), float32, on the CPU

    Raises
    ------
    NotIncrementalError
        If the module cannot be computed this way, or it would take as long as asking.
    ExactnessError
        If a cell that was recomputed by a full forward pass disagrees.
    """
    like = {"device": classifier.device, "dtype": classifier.dtype}
    placed, colours = images.to(**like), values.to(**like)  # type: ignore[call-overload]
    program = lower(trace(classifier, placed), classifier.dtype)
    height, width = images.shape[2:]
    side = places[:, 2:].max(axis=0)
    sizes = tuple(block_windows(length, int(size)) for length, size in zip((height, width), side, strict=True))
    windows = windows_of(program, height, width, start=(sizes[0], sizes[1]))
    threads = torch.get_num_threads() if classifier.device.type == "cpu" else 1
    groups = tuple(
        block_group(program, windows, places, own[members])
        for own in of_one_size(places)
        for members in pixel_groups(len(own), threads)
        if len(members)
    )
    cost = total_cost([one for group in groups for one in count(program, windows, group.levels, group.pixels)])
    if cost.share > WORTHWHILE:
        raise NotIncrementalError(f"the windows of one block cost {cost.share:.0%} of a full forward pass")
    found = torch.empty((len(images) * len(places), len(values), program.base.shape[1]), dtype=classifier.dtype)
    in_threads(lambda group: run_group(classifier, program, windows, group, colours, found, advance), groups, threads)
    odds = torch.cat([to_log_odds(part, classifier.outputs) for part in found.flatten(0, 1).split(2**16)])
    table = odds.float().view(len(images), len(places), len(values), -1)
    check(classifier, placed, places, colours, found.view(*table.shape[:3], -1))
    return table


def whole_passes(images: int) -> int:
    """Images that `block_log_odds` sends through the whole network for so many, to trace it and to check itself."""
    return 2 * (images + 1) + CHECKED


def block_windows(length: int, side: int) -> Window:
    """The block that begins at every row or column."""
    places = np.arange(length)
    return inside(places, places + side, length)


def of_one_size(places: Numbers) -> list[Numbers]:
    """Numbers of the blocks of each size: what is computed in one batch has one shape."""
    _, size = np.unique(places[:, 2:], axis=0, return_inverse=True)
    return [np.flatnonzero(size.reshape(-1) == number) for number in range(int(size.max()) + 1)]


def block_group(program: Program, windows: dict[int, Axes], places: Numbers, members: Numbers) -> Group:
    """Some blocks in every image, with their classes; block b of image m has the number m times all blocks, plus b."""
    images = len(program.image)
    image = np.repeat(np.arange(images), len(members))
    table = np.column_stack([image, np.tile(places[members, :2], (images, 1))])
    return Group(image * len(places) + np.tile(members, images), table, classify(program, windows, table))


def run_group(
    classifier: ModuleClassifier,
    program: Program,
    windows: dict[int, Axes],
    group: Group,
    values: Tensor,
    found: Tensor,
    advance: Advance,
) -> None:
    """Write the answers of a group's blocks into their rows of `found` (M * B, V, K)."""
    size = values_at_once(program, windows, len(values))
    last = group.levels[-1]
    order = np.argsort(last.members, kind="stable")
    edges = np.searchsorted(last.members[order], np.arange(len(last.pixel) + 1))
    base = program.base.to(found)
    for first in range(0, len(values), size):
        part = values[first : first + size]

        def finish(classes: Numbers, differences: Tensor, first: int = first) -> None:
            owner = np.repeat(np.arange(len(classes)), edges[classes + 1] - edges[classes])
            members = np.concatenate([order[edges[one] : edges[one + 1]] for one in classes])
            image = torch.from_numpy(group.pixels[last.pixel[classes], 0])
            answers = (differences.to(found) + base[image].T[:, :, None]).permute(1, 2, 0)
            rows = torch.from_numpy(group.members[members])
            found[rows, first : first + answers.shape[1]] = answers[torch.from_numpy(owner)]
            advance(len(rows) * answers.shape[1])

        changes = block_changes(program, classifier, windows, part, group.pixels[group.levels[0].pixel])
        Execution(program, windows, group.levels, group.pixels, len(part), finish).run(changes)


def block_changes(
    program: Program, classifier: ModuleClassifier, windows: dict[int, Axes], values: Tensor, blocks: Numbers
) -> Tensor:
    """What values (V, C) change in the prepared images at blocks (U, 3) of one size: (h, C, w, U * V)."""
    prepared = classifier.prepare(values[:, :, None, None])[:, :, 0, 0].T
    rows, columns = windows[IMAGE]
    first = blocks[0]
    height, width = int(rows.size[first[1]]), int(columns.size[first[2]])
    cut = program.image.unfold(2, height, 1).unfold(3, width, 1)
    image, top, left = torch.from_numpy(np.ascontiguousarray(blocks.T)).to(program.image.device)
    before = cut[image, :, top, left].permute(2, 1, 3, 0)
    changed = prepared[None, :, None, None, :] - before[..., None]
    # Arithmetic keeps the order in memory of what was permuted, and the steps want the one that is shown.
    return changed.flatten(3).contiguous()


def check(classifier: ModuleClassifier, images: Tensor, places: Numbers, values: Tensor, found: Tensor) -> None:
    """Recompute a few seeded cells by full forward passes.

    Raises
    ------
    ExactnessError
        If an answer differs by more than rounding explains.
    """
    random = np.random.default_rng(0)
    cells = [tuple(random.integers(size) for size in found.shape[:3]) for _ in range(CHECKED)]
    changed = torch.stack([images[image] for image, _, _ in cells]).clone()
    for row, (_, block, value) in enumerate(cells):
        top, left, height, width = places[block]
        changed[row, :, top : top + height, left : left + width] = values[value][:, None, None]
    expected = classifier(changed).to(found)
    given = torch.stack([found[cell] for cell in cells])
    difference = float((expected - given).abs().max())
    if not difference <= TOLERANCES[classifier.dtype] * (1 + float(expected.abs().max())):
        raise ExactnessError(
            f"The incremental engine disagrees with a full forward pass of {classifier.name} by {difference:.2g}."
        )
