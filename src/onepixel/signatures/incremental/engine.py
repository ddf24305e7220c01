"""The incremental engine: recompute only what one pixel can reach, for any module that torch can trace."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx

from onepixel.classifiers import Classifier, ModuleClassifier, to_log_odds
from onepixel.errors import UsageError
from onepixel.signatures.exhaustive import announcement
from onepixel.signatures.incremental.check import SpotCheck
from onepixel.signatures.incremental.classes import Level, Numbers, classify, windows_of
from onepixel.signatures.incremental.cost import Cost, count
from onepixel.signatures.incremental.execution import Execution
from onepixel.signatures.incremental.lowering import Program, lower
from onepixel.signatures.incremental.spots import Axes
from onepixel.signatures.incremental.tracing import NotIncrementalError, trace
from onepixel.signatures.plan import Advance, Extremes, Plan, keep_silent

STEP_BYTES = 64 * 2**20
"""The most that one pixel's values may take at one step; more values than that are taken in turns."""

TIMED_IMAGES = 32


def incremental(classifier: Classifier, plan: Plan, advance: Advance) -> Extremes:
    """Find the extremes by recomputing, for every pixel, the windows of the maps that it can change.

    Raises
    ------
    UsageError
        If the classifier is no torch module, or one that cannot be computed this way; the text says why.
    ExactnessError
        If a pixel that was recomputed by full forward passes disagrees; the text names the layer.
    """
    if not isinstance(classifier, ModuleClassifier):
        raise UsageError(f"The incremental engine looks inside torch modules; {classifier.name} is none.")
    try:
        prepared = prepare(classifier, plan)
    except NotIncrementalError as error:
        raise UsageError(f"The incremental engine cannot run {classifier.name}: {error}.") from error
    return prepared.run(advance)


def prepare(classifier: ModuleClassifier, plan: Plan) -> "Prepared":
    """Trace the module, translate its operators and find out which pixels share which work.

    Raises
    ------
    NotIncrementalError
        If the module cannot be computed this way.
    """
    traced = trace(classifier, plan.default_image)
    program = lower(traced, classifier.dtype)
    recorded = traced.recorded
    del traced
    windows = windows_of(program, *classifier.input_shape[1:])
    pixels: Numbers = plan.pixels.cpu().numpy()
    threads = torch.get_num_threads() if classifier.device.type == "cpu" else 1
    groups = tuple(
        Group(members, pixels[members], classify(program, windows, pixels[members]))
        for members in pixel_groups(len(pixels), threads)
    )
    costs = [count(program, windows, group.levels, group.pixels) for group in groups]
    cost = Cost(*(sum(part) for part in zip(*((c.windows, c.full, c.pixels) for c in costs), strict=True)))
    return Prepared(classifier, plan, recorded, program, windows, groups, cost, threads)


@dataclass(frozen=True)
class Group:
    """Pixels (P, 2) that one thread computes by itself, their numbers in the plan, and their classes."""

    members: Numbers
    pixels: Numbers
    levels: list[Level]


@dataclass(frozen=True)
class Prepared:
    """A module made ready for one plan, its cost known before it runs."""

    classifier: ModuleClassifier
    plan: Plan
    recorded: fx.GraphModule
    program: Program
    windows: dict[int, Axes]
    groups: tuple[Group, ...]
    cost: Cost
    threads: int

    def run(self, advance: Advance) -> Extremes:
        """Compute every pixel at every value, then check a few.

        Raises
        ------
        ExactnessError
            If one that was recomputed by full forward passes disagrees.
        """
        base = to_log_odds(self.classifier(self.plan.default_image[None]), self.classifier.outputs)[0]
        self.announce()
        found = Found(base, self.classifier, self.program, SpotCheck(self.plan), advance, len(self.plan.pixels))
        in_threads(lambda group: self.run_group(group, found), self.groups, self.threads)
        checked = found.check.compare(self.classifier, self.program, self.recorded)
        queries = 1 + checked + self.cost.forward_passes(len(self.plan.grid))
        return Extremes(found.low.T, found.high.T, base, queries=queries, engine="incremental")

    def announce(self) -> None:
        """Say what the run will cost, if anybody listens; the time is estimated from one batch of full passes."""
        if self.plan.say is keep_silent:
            return
        images = self.plan.images(torch.arange(min(TIMED_IMAGES, self.plan.cells), device=self.plan.pixels.device))
        begin = time.perf_counter()
        self.classifier(images)
        seconds = (time.perf_counter() - begin) / len(images)
        passes = self.cost.forward_passes(len(self.plan.grid))
        self.plan.say(announcement(self.plan, "incremental", passes, seconds))

    def run_group(self, group: Group, found: "Found") -> None:
        """One thread's work."""
        order = np.argsort(group.levels[-1].members, kind="stable")
        edges = np.searchsorted(group.levels[-1].members[order], np.arange(len(group.levels[-1].pixel) + 1))

        grid = self.plan.grid
        size = values_at_once(self.program, self.windows, len(grid))
        for first in range(0, len(grid), size):
            values = grid[first : first + size]

            def finish(classes: Numbers, differences: Tensor, first: int = first) -> None:
                owner = np.repeat(np.arange(len(classes)), edges[classes + 1] - edges[classes])
                members = np.concatenate([order[edges[c] : edges[c + 1]] for c in classes])
                found.take(group.members[members], owner, differences, first)
                if first + size >= len(grid):
                    found.advance(len(members))

            changes = pixel_changes(self.program, self.classifier, values, group.pixels[group.levels[0].pixel])
            execution = Execution(self.program, self.windows, group.levels, group.pixels, len(values), finish)
            execution.run(changes)


class Found:
    """The extremes so far; threads write to different pixels."""

    def __init__(
        self,
        base: Tensor,
        classifier: ModuleClassifier,
        program: Program,
        check: SpotCheck,
        advance: Advance,
        pixels: int,
    ) -> None:
        self.low = torch.full((pixels, len(base)), float("inf"), dtype=base.dtype, device=base.device)
        self.high = torch.full_like(self.low, float("-inf"))
        self.classifier, self.program, self.check, self.advance = classifier, program, check, advance

    def take(self, pixels: Numbers, owner: Numbers, differences: Tensor, first_value: int) -> None:
        """Count answers' differences (K, U, V) in; pixel n has those of owner[n]."""
        answers = (differences + self.program.base[:, None, None]).permute(1, 2, 0)
        self.check.collect(pixels, owner, answers, first_value)
        odds = to_log_odds(answers.flatten(0, 1), self.classifier.outputs).unflatten(0, answers.shape[:2])
        index = torch.from_numpy(pixels).to(self.low.device)
        rows = torch.from_numpy(owner).to(self.low.device)
        self.low[index] = torch.minimum(self.low[index], odds.amin(1)[rows])
        self.high[index] = torch.maximum(self.high[index], odds.amax(1)[rows])


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
    """One group of pixels for each of a few turns of every thread; bands of rows, so that groups share much inside."""
    return np.array_split(np.arange(pixels), 1 if threads == 1 else min(pixels, 2 * threads))


def in_threads(run: Callable[[Group], None], groups: tuple[Group, ...], threads: int) -> None:
    """Run groups side by side with one of torch's threads each: small products gain nothing from more."""

    def alone(group: Group) -> None:
        with torch.inference_mode():
            run(group)

    if threads == 1 or len(groups) == 1:
        for group in groups:
            alone(group)
        return
    try:
        torch.set_num_threads(1)
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(alone, groups))
    finally:
        torch.set_num_threads(threads)


def pixel_changes(program: Program, classifier: ModuleClassifier, grid: Tensor, pixels: Numbers) -> Tensor:
    """The prepared image's difference at pixels (U, 2) for every value: (1, C, 1, U * V)."""
    channels = classifier.input_shape[0]
    prepared = classifier.prepare(grid[:, None, None, None].expand(-1, channels, 1, 1))[:, :, 0, 0].T
    before = program.image[:, torch.from_numpy(pixels[:, 0]), torch.from_numpy(pixels[:, 1])]
    return (prepared[:, None, :] - before[:, :, None]).reshape(1, channels, 1, -1)
