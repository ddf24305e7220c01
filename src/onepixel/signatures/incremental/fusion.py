"""Neighbouring steps made one: batch norm into the convolution before it, functions into the pooling after them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from onepixel.signatures.incremental.convolution import Convolution
from onepixel.signatures.incremental.nonlinear_steps import Nonlinear
from onepixel.signatures.incremental.steps import Scale, Step, Sum

MONOTONE: tuple[Callable[[Tensor], Tensor], ...] = (torch.relu_,)
"""Functions that never turn two numbers round, so that they commute with a maximum without any rounding."""


def fuse(steps: list[Step], answer: int) -> tuple[Step, ...]:
    """Merge a step into the one before wherever nothing else uses the map between them."""
    uses = Counter(number for step in steps for number in step.inputs)
    uses[answer] += 1
    maker: dict[int, int] = {}
    fused: list[Step | None] = []
    for step in steps:
        before = maker.get(step.inputs[0])
        merged = None
        if before is not None and len(step.inputs) == 1 and uses[step.inputs[0]] == 1:
            first = fused[before]
            assert first is not None
            merged = merge(first, step)
        if merged is None or before is None:
            maker[step.output] = len(fused)
            fused.append(step)
        else:
            maker[step.output] = len(fused)
            fused[before] = None
            fused.append(merged)
    kept = [step for step in fused if step is not None]
    fresh = {step.output for step in kept if makes_new_map(step)}
    return tuple(
        replace(pooled_first(step), owns_input=uses[step.inputs[0]] == 1 and step.inputs[0] in fresh)
        if isinstance(step, Nonlinear)
        else step
        for step in kept
    )


def makes_new_map(step: Step) -> bool:
    """Whether a step's output never lies where its input does, as a sum with a constant does."""
    return isinstance(step, Convolution | Scale) or (isinstance(step, Sum) and len(step.inputs) > 1)


def merge(first: Step, second: Step) -> Step | None:
    """Both as one step, or None."""
    shapes = (first.shapes[0], second.shapes[-1])
    if isinstance(first, Convolution) and isinstance(second, Scale):
        weight = first.weight * second.factor[:, None, None, None]
        return replace(first, weight=weight, output=second.output, shapes=shapes)
    if not isinstance(first, Nonlinear) or not isinstance(second, Nonlinear):
        return None
    joined = replace(first, output=second.output, shapes=shapes, base_out=second.base_out)
    if second.pool is None:
        functions = second.before + second.after
        if first.pool is None:
            return replace(joined, before=first.before + functions, base_middle=second.base_out)
        return replace(joined, after=first.after + functions)
    if first.pool is None:
        before = first.before + second.before
        return replace(second, inputs=first.inputs, shapes=shapes, before=before, base_in=first.base_in)
    return None


def pooled_first(step: Nonlinear) -> Nonlinear:
    """Apply monotone functions after the pooling instead of before it, to fewer numbers."""
    if step.pool is None or not all(function in MONOTONE for function in step.before):
        return step
    return replace(step, before=(), after=step.before + step.after, base_middle=step.base_in)
