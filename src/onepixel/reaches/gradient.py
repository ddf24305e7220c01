"""The gradient search: fillings of windows by Adam, started from the gradient of every pixel, by successive halving."""

from dataclasses import replace

import torch

from onepixel.reaches.adam import Adam
from onepixel.reaches.candidates import Candidates, mean_by, measure
from onepixel.reaches.hints import Hint, grouped
from onepixel.reaches.task import Task

RATE = 0.5
"""Adam's rate; a filling is the sigmoid of what it moves."""

AIM = 10.0
"""An image that is driven so far pulls no more."""

START = 1.5
"""Fillings begin at the sigmoid of plus or minus this, as the gradient of each pixel says."""

NOISES = 2
"""Noisy copies of the seen images over which gradients are averaged too: where a network is flat, noise is not."""

NOISE = 0.3

PASSES = 3
"""What a step forwards and backwards costs in forward passes."""


def gradient_hint(task: Task, seed: int = 0) -> Hint:
    """First-order worth of every pixel: its gradient times how far it is from 0 or 1, whichever is worth more."""
    generator = torch.Generator().manual_seed(seed)
    base = task.images[torch.as_tensor(task.seen)]
    gradients = torch.zeros(len(base), len(task.targets), *base.shape[1:])
    size = max(1, task.questions.batch)
    for copy in range(1 + NOISES):
        noise = torch.rand(base.shape, generator=generator) if copy else base
        images = base + NOISE * (noise - base)
        task.questions.spend(len(images) * (1 + 2 * len(task.targets)))
        for start in range(0, len(images), size):
            part = images[start : start + size].clone().requires_grad_(True)
            odds = task.questions.differentiable_log_odds(part)
            for column, target in enumerate(task.targets):
                (found,) = torch.autograd.grad(odds[:, int(target)].sum(), part, retain_graph=True)
                gradients[start : start + len(part), column] += found / (1 + NOISES)
    up = grouped(task, gradients * (1 - base[:, None]))
    down = grouped(task, -gradients * base[:, None])
    value = (up >= down).float()
    return Hint(torch.maximum(up, down).sum(2), value)


def climb(task: Task, candidates: Candidates, steps: int, alpha: float) -> Candidates:
    """Take every candidate's filling some steps of Adam further; the worth is measured at the end.

    Raises
    ------
    BudgetError
        If the steps do not fit into what is left of the budget.
    """
    done = []
    for batch, owner, image in candidates.chunks(task, fresh=False, at_once=task.questions.batch):
        part = candidates.pick(batch)
        task.questions.spend(PASSES * steps * len(owner))
        moved = torch.logit(part.filling.clamp(0.01, 0.99)).requires_grad_(True)
        adam = Adam(moved, RATE)
        rows, targets = torch.as_tensor(owner), torch.as_tensor(part.target)
        for _ in range(steps):
            images = part.images(task, owner, image, torch.sigmoid(moved), alpha)
            odds = task.questions.differentiable_log_odds(images).gather(1, targets[rows, None])[:, 0]
            loss = -mean_by(odds.clamp(max=AIM), rows, len(batch)).sum()
            (slope,) = torch.autograd.grad(loss, [moved])
            adam.step(slope)
        task.questions.advance(PASSES * steps * len(owner))
        done.append(torch.sigmoid(moved.detach()))
    climbed = replace(candidates, filling=torch.cat(done))
    worth, _ = measure(task, climbed, alpha)
    return climbed.with_worth(worth)


def softened(candidates: Candidates) -> Candidates:
    """Fillings of zeros and ones, moved inwards so that Adam can turn them."""
    low = float(torch.sigmoid(torch.tensor(-START)))
    filling = low + (1 - 2 * low) * candidates.filling
    return Candidates(candidates.source, candidates.target, candidates.place, filling, candidates.worth)
