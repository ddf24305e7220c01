"""The incremental engine: recompute only what one pixel can reach, for any module that torch can trace."""

import numpy as np
import torch
from torch import Tensor

from onepixel.classifiers import Classifier, ModuleClassifier, to_log_odds
from onepixel.errors import ExactnessError, UsageError
from onepixel.signatures.incremental.classes import Numbers, classify, windows_of
from onepixel.signatures.incremental.execution import Execution, one_thread_each
from onepixel.signatures.incremental.lowering import Program, lower
from onepixel.signatures.incremental.tracing import NotIncrementalError, trace
from onepixel.signatures.plan import Advance, Extremes, Plan


def incremental(classifier: Classifier, plan: Plan, advance: Advance) -> Extremes:
    """Find the extremes by recomputing, for every pixel, the windows of the maps that it can change.

    Raises
    ------
    UsageError
        If the classifier is no torch module, or one that cannot be computed this way; the text says why.
    ExactnessError
        If a pixel that was recomputed by full forward passes disagrees.
    """
    if not isinstance(classifier, ModuleClassifier):
        raise UsageError(f"The incremental engine looks inside torch modules; {classifier.name} is none.")
    try:
        program = lower(trace(classifier, plan.default_image), classifier.dtype)
    except NotIncrementalError as error:
        raise UsageError(f"The incremental engine cannot run {classifier.name}: {error}.") from error
    return run_program(program, classifier, plan, advance)


def run_program(program: Program, classifier: ModuleClassifier, plan: Plan, advance: Advance) -> Extremes:
    """Run the steps for every pixel and value."""
    _, height, width = classifier.input_shape
    pixels: Numbers = plan.pixels.cpu().numpy()
    windows = windows_of(program, height, width)
    levels = classify(program, windows, pixels)
    members = np.argsort(levels[-1].members, kind="stable")
    edges = np.searchsorted(levels[-1].members[members], np.arange(len(levels[-1].pixel) + 1))
    base = to_log_odds(classifier(plan.default_image[None]), classifier.outputs)[0]
    low = torch.full((len(levels[-1].pixel), len(base)), float("inf"), dtype=base.dtype, device=base.device)
    high = torch.full_like(low, float("-inf"))

    def finish(classes: Numbers, differences: Tensor) -> None:
        answers = (differences + program.base[:, None, None]).permute(1, 2, 0)
        odds = to_log_odds(answers.flatten(0, 1), classifier.outputs).unflatten(0, answers.shape[:2])
        index = torch.from_numpy(classes).to(low.device)
        low[index] = torch.minimum(low[index], odds.amin(1))
        high[index] = torch.maximum(high[index], odds.amax(1))
        advance(int((edges[classes + 1] - edges[classes]).sum()))

    with one_thread_each():
        threads = torch.get_num_threads() if base.device.type == "cpu" else 1
        changes = pixel_changes(program, classifier, plan.grid, pixels[levels[0].pixel])
        Execution(program, windows, levels, pixels, changes, finish).run(threads)
    owner = torch.from_numpy(levels[-1].members).to(low.device)
    return Extremes(low[owner].T, high[owner].T, base, queries=plan.cells + 1, engine="incremental")


def pixel_changes(program: Program, classifier: ModuleClassifier, grid: Tensor, pixels: Numbers) -> Tensor:
    """The prepared image's difference at pixels (U, 2) for every value: (1, C, 1, U * V)."""
    channels = classifier.input_shape[0]
    with torch.no_grad():
        prepared = classifier.prepare(grid[:, None, None, None].expand(-1, channels, 1, 1))[:, :, 0, 0].T
        before = program.image[:, torch.from_numpy(pixels[:, 0]), torch.from_numpy(pixels[:, 1])]
        return (prepared[:, None, :] - before[:, :, None]).reshape(1, channels, 1, -1)
