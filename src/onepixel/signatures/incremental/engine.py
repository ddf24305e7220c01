"""The incremental engine: recompute only what one pixel can reach, for any module that torch can trace."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx

from onepixel.classifiers import Classifier, ModuleClassifier, to_log_odds
from onepixel.errors import UsageError
from onepixel.signatures.exhaustive import announcement
from onepixel.signatures.incremental.check import SpotCheck
from onepixel.signatures.incremental.classes import Level, Numbers, classify, windows_of
from onepixel.signatures.incremental.cost import Cost, count, total_cost
from onepixel.signatures.incremental.execution import Execution
from onepixel.signatures.incremental.lowering import lower
from onepixel.signatures.incremental.program import Program
from onepixel.signatures.incremental.spots import Axes
from onepixel.signatures.incremental.tracing import NotIncrementalError, trace
from onepixel.signatures.plan import Advance, Extremes, Plan, keep_silent
from onepixel.threads import side_by_side

STEP_BYTES = 64 * 2**20
"""The most that one pixel's values may take at one step; more values than that are taken in turns."""

TIMED_IMAGES = 32

MANY_PIXELS = 2048
"""Visited pixels from which on threads take turns, so that one that meets little to share holds nobody up."""


def incremental(classifier: Classifier, plan: Plan, advance: Advance) -> Extremes:
    """Find the extremes by recomputing, for every pixel, the windows of the maps that it can change.

    Raises
    ------
    UsageError
        If the classifier is no torch module, or one that cannot be computed this way; the text says why.
    ExactnessError
        If a pixel that was recomputed by full forward passes disagrees; the text names the layer.
    """
    return incremental_together(classifier, [plan], advance)[0]


def incremental_together(classifier: Classifier, plans: Sequence[Plan], advance: Advance) -> list[Extremes]:
    """The same for several default images in one pass: plans that differ in nothing else.

    Raises
    ------
    UsageError, ExactnessError
        As `incremental`.
    """
    if not isinstance(classifier, ModuleClassifier):
        raise UsageError(f"The incremental engine looks inside torch modules; {classifier.name} is none.")
    try:
        prepared = prepare(classifier, plans)
    except NotIncrementalError as error:
        raise UsageError(f"The incremental engine cannot run {classifier.name}: {error}.") from error
    return prepared.run(advance)


def prepare(classifier: ModuleClassifier, plans: Sequence[Plan]) -> "Prepared":
    """Trace the module, translate its operators and find out which pixels share which work.

    The plans differ in their default images alone.

    Raises
    ------
    NotIncrementalError
        If the module cannot be computed this way.
    """
    traced = trace(classifier, torch.stack([plan.default_image for plan in plans]))
    program = lower(traced, classifier.dtype)
    recorded = traced.recorded
    del traced
    windows = windows_of(program, *classifier.input_shape[1:])
    pixels: Numbers = plans[0].pixels.cpu().numpy()
    threads = torch.get_num_threads() if classifier.device.type == "cpu" else 1
    groups = tuple(
        group_of(program, windows, pixels, members, len(plans)) for members in pixel_groups(len(pixels), threads)
    )
    by_group = [count(program, windows, group.levels, group.pixels) for group in groups]
    costs = tuple(total_cost(of_image) for of_image in zip(*by_group, strict=True))
    return Prepared(classifier, tuple(plans), recorded, program, windows, groups, costs, threads)


@dataclass(frozen=True)
class Group:
    """Pixels (P, 3: image, row, column) that one thread computes by itself, their numbers (P,), and their classes.

    Pixel p of image m has the number m times the pixels of the plan, plus p.
    """

    members: Numbers
    pixels: Numbers
    levels: list[Level]


def group_of(program: Program, windows: dict[int, Axes], pixels: Numbers, members: Numbers, images: int) -> Group:
    """The group of the members of pixels (P, 2) in every image."""
    image = np.repeat(np.arange(images), len(members))
    table = np.column_stack([image, np.tile(pixels[members], (images, 1))])
    return Group(image * len(pixels) + np.tile(members, images), table, classify(program, windows, table))


@dataclass(frozen=True)
class Prepared:
    """A module made ready for plans with different default images, the cost of each known before it runs."""

    classifier: ModuleClassifier
    plans: tuple[Plan, ...]
    recorded: fx.GraphModule
    program: Program
    windows: dict[int, Axes]
    groups: tuple[Group, ...]
    costs: tuple[Cost, ...]
    threads: int

    @property
    def cost(self) -> Cost:
        """Of all default images together."""
        return total_cost(self.costs)

    def run(self, advance: Advance) -> list[Extremes]:
        """Compute every pixel at every value from every default image, then check a few of each.

        Raises
        ------
        ExactnessError
            If one that was recomputed by full forward passes disagrees.
        """
        bases = [
            to_log_odds(self.classifier(plan.default_image[None]), self.classifier.outputs)[0] for plan in self.plans
        ]
        self.announce()
        found = Found(torch.stack(bases), self.classifier, self.program, self.plans, advance)
        in_threads(lambda group: self.run_group(group, found), self.groups, self.threads)
        extremes = []
        for plan, cost, base, check, low, high in zip(
            self.plans, self.costs, bases, found.checks, found.low, found.high, strict=True
        ):
            checked = check.compare(self.classifier, self.program, self.recorded)
            queries = 1 + checked + cost.forward_passes(len(plan.grid))
            extremes.append(Extremes(low.T, high.T, base, queries=queries, engine="incremental"))
        return extremes

    def announce(self) -> None:
        """Say what the run will cost, if anybody listens; the time is estimated from one batch of full passes."""
        plan = self.plans[0]
        if plan.say is keep_silent:
            return
        images = plan.images(torch.arange(min(TIMED_IMAGES, plan.cells), device=plan.pixels.device))
        begin = time.perf_counter()
        self.classifier(images)
        seconds = (time.perf_counter() - begin) / len(images)
        passes = sum(cost.forward_passes(len(plan.grid)) for cost in self.costs)
        plan.say(announcement(plan, "incremental", passes, seconds))

    def run_group(self, group: Group, found: "Found") -> None:
        """One thread's work."""
        order = np.argsort(group.levels[-1].members, kind="stable")
        edges = np.searchsorted(group.levels[-1].members[order], np.arange(len(group.levels[-1].pixel) + 1))
        image = group.pixels[group.levels[-1].pixel, 0]

        grid = self.plans[0].grid
        size = values_at_once(self.program, self.windows, len(grid))
        for first in range(0, len(grid), size):
            values = grid[first : first + size]

            def finish(classes: Numbers, differences: Tensor, first: int = first) -> None:
                owner = np.repeat(np.arange(len(classes)), edges[classes + 1] - edges[classes])
                members = np.concatenate([order[edges[c] : edges[c + 1]] for c in classes])
                found.take(group.members[members], owner, image[classes], differences, first)
                if first + size >= len(grid):
                    found.advance(len(members))

            changes = pixel_changes(self.program, self.classifier, values, group.pixels[group.levels[0].pixel])
            execution = Execution(self.program, self.windows, group.levels, group.pixels, len(values), finish)
            execution.run(changes)


class Found:
    """The extremes so far, (M, P, K); threads write to different pixels."""

    def __init__(
        self,
        base: Tensor,
        classifier: ModuleClassifier,
        program: Program,
        plans: Sequence[Plan],
        advance: Advance,
    ) -> None:
        self.pixels = len(plans[0].pixels)
        shape = (len(plans), self.pixels, base.shape[1])
        self.low = torch.full(shape, float("inf"), dtype=base.dtype, device=base.device)
        self.high = torch.full_like(self.low, float("-inf"))
        self.checks = [SpotCheck(plan, image) for image, plan in enumerate(plans)]
        self.checked = np.concatenate([check.pixels + check.image * self.pixels for check in self.checks])
        self.classifier, self.program, self.advance = classifier, program, advance

    def take(self, pixels: Numbers, owner: Numbers, image: Numbers, differences: Tensor, first_value: int) -> None:
        """Count answers' differences (K, U, V) from those of images (U,) in; pixel n has those of owner[n]."""
        base = self.program.base[torch.from_numpy(image).to(self.low.device)]
        answers = differences + base.T[:, :, None]
        kept = np.flatnonzero(np.isin(pixels, self.checked))
        for place, number in zip(kept, image[owner[kept]], strict=True):
            own = pixels[place : place + 1] - number * self.pixels
            self.checks[number].collect(own, owner[place : place + 1], answers.permute(1, 2, 0), first_value)
        odds = to_log_odds(answers.flatten(1).T, self.classifier.outputs).T.reshape(answers.shape)
        index = torch.from_numpy(pixels).to(self.low.device)
        rows = torch.from_numpy(owner).to(self.low.device)
        low, high = self.low.flatten(0, 1), self.high.flatten(0, 1)
        low[index] = torch.minimum(low[index], odds.amin(2).T[rows])
        high[index] = torch.maximum(high[index], odds.amax(2).T[rows])


def values_at_once(program: Program, windows: dict[int, Axes], values: int) -> int:
    """How many values one pixel's largest step may take without outgrowing its memory."""
    largest = 1
    for step in program.steps:
        numbers = 0
        for number, (channels, _, _) in zip((*step.inputs, step.output), step.shapes, strict=True):
            rows, columns = windows[number]
            numbers += channels * int(rows.size.max()) * int(columns.size.max())
        largest = max(largest, numbers)
    return max(1, min(values, STEP_BYTES // (largest * program.image.element_size())))


def pixel_groups(pixels: int, threads: int) -> list[Numbers]:
    """Bands of rows, which share much inside: one for every thread, or, of many pixels, one for each of two turns.

    Every group takes its own Python steps, which on a small image are half of the work.
    """
    turns = 1 if threads == 1 or pixels < MANY_PIXELS else 2
    return np.array_split(np.arange(pixels), max(1, min(pixels, turns * threads)))


def in_threads(run: Callable[[Group], None], groups: tuple[Group, ...], threads: int) -> None:
    """Run groups side by side with one of torch's threads each: small products gain nothing from more."""

    def alone(group: Group) -> None:
        with torch.inference_mode():
            run(group)

    for _ in side_by_side(alone, groups, threads):
        pass


def pixel_changes(program: Program, classifier: ModuleClassifier, grid: Tensor, pixels: Numbers) -> Tensor:
    """The prepared images' differences at pixels (U, 3) for every value: (1, C, 1, U * V)."""
    channels = classifier.input_shape[0]
    prepared = classifier.prepare(grid[:, None, None, None].expand(-1, channels, 1, 1))[:, :, 0, 0].T
    image, rows, columns = torch.from_numpy(np.ascontiguousarray(pixels.T))
    before = program.image[image, :, rows, columns].T
    return (prepared[:, None, :] - before[:, :, None]).reshape(1, channels, 1, -1)
