"""A few random pixels of every run are recomputed by full forward passes; a disagreement is traced to its layer."""

import numpy as np
import torch
from torch import Tensor, fx

from onepixel.classifiers import ModuleClassifier
from onepixel.errors import ExactnessError
from onepixel.signatures.incremental.classes import Numbers, windows_of
from onepixel.signatures.incremental.program import IMAGE, Program
from onepixel.signatures.incremental.spots import Spots
from onepixel.signatures.incremental.tracing import run_nodes
from onepixel.signatures.plan import Plan

CHECKED_PIXELS = 3
CHECKED_VALUES = 16

TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}
"""Largest difference of two answers, relative to 1 + the largest answer; a wrong rule is off by far more."""


class SpotCheck:
    """Answers of a few seeded pixels and values, collected during a run and compared after it.

    `image` is the number of the plan's default image among those of the run.
    """

    def __init__(self, plan: Plan, image: int = 0, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.plan, self.image = plan, image
        self.pixels: Numbers = random.choice(len(plan.pixels), min(CHECKED_PIXELS, len(plan.pixels)), replace=False)
        self.values: Numbers = random.choice(len(plan.grid), min(CHECKED_VALUES, len(plan.grid)), replace=False)
        self.answers: dict[tuple[int, int], Tensor] = {}

    def collect(self, pixels: Numbers, owner: Numbers, answers: Tensor, first_value: int) -> None:
        """Keep what is asked for of answers (U, V, K); pixel n of the plan is described by row owner[n]."""
        for place in np.flatnonzero(np.isin(pixels, self.pixels)):
            for value in self.values:
                if 0 <= value - first_value < answers.shape[1]:
                    answer = answers[int(owner[place]), int(value) - first_value].clone()
                    self.answers[int(pixels[place]), int(value)] = answer

    def compare(self, classifier: ModuleClassifier, program: Program, recorded: fx.GraphModule) -> int:
        """Recompute by full forward passes and return how many it took.

        Raises
        ------
        ExactnessError
            If an answer differs by more than rounding explains; the text names the first layer that differs.
        """
        keys = sorted(self.answers)
        cells = torch.tensor([pixel * len(self.plan.grid) + value for pixel, value in keys])
        images = self.plan.images(cells.to(self.plan.pixels.device))
        expected = torch.cat([classifier(part) for part in images.split(CHECKED_VALUES)])
        found = torch.stack([self.answers[key] for key in keys])
        tolerance = TOLERANCES[classifier.dtype] * (1 + float(expected.abs().max()))
        differences = (expected - found).abs().amax(1)
        worst = int(differences.argmax())
        if not float(differences[worst]) <= tolerance:
            row, column = self.plan.pixels[keys[worst][0]].tolist()
            pair = torch.stack([self.plan.default_image, images[worst]])
            layer = first_difference(classifier, program, recorded, pair, (self.image, row, column))
            raise ExactnessError(
                f"The incremental engine disagrees with a full forward pass of {classifier.name} by "
                f"{float(differences[worst]):.2g} at pixel ({row}, {column}); the first layer that differs is {layer}."
            )
        return len(keys)


def first_difference(
    classifier: ModuleClassifier,
    program: Program,
    recorded: fx.GraphModule,
    images: Tensor,
    pixel: tuple[int, int, int],
) -> str:
    """The label of the first step whose map is not that of the full forward pass.

    `images` (2, C, H, W) are the default image and the one with the changed pixel; `pixel` is the number of that
    default image in the program, row and column.
    """
    prepared = classifier.prepare(images)
    values = run_nodes(recorded, prepared, torch.float64)
    windows = windows_of(program, *classifier.input_shape[1:])
    image, row, column = pixel
    spots = Spots(np.array([image]), np.array([row]), np.array([column]), windows)
    maps = {IMAGE: (prepared[1] - program.image[image])[:, row, column][None, :, None, None]}
    for step in program.steps:
        maps[step.output] = step.run([maps[number] for number in step.inputs], spots)
        node = program.nodes[step.output]
        shape = step.shapes[-1]
        base, full = (result.reshape(shape) for result in first_result(values[node]))
        span = spots.span(step.output)
        completed = base.clone()
        inside = completed[:, span.top : span.bottom, span.left : span.right]
        inside += maps[step.output][..., 0].permute(1, 0, 2)
        tolerance = 10 * TOLERANCES[classifier.dtype] * (1 + float(full.abs().max()))
        if not float((completed - full).abs().max()) <= tolerance:
            return step.label
    return "none when computed alone, so the pixels were put together wrongly"


def first_result(value: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The map of an operator that gives several results."""
    return value if isinstance(value, Tensor) else value[0]
