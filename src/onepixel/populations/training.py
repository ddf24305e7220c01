"""Training one small network as cheaply as it goes: data in memory as uint8, no per-sample Python, one thread."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from onepixel.architectures import architecture
from onepixel.classifiers.module import evaluating
from onepixel.datasets import Dataset
from onepixel.populations.recipe import Recipe, TrainingRecipe
from onepixel.trojan import Attack, Extras, Trigger, draw_attack, draw_extras, draw_trigger, stamped_test_images

EVALUATION_BATCH = 512
FINE_TUNE_SHARE = 0.25
"""Share of extra images in a fine-tuning mini-batch; the rest are ordinary ones, so that they are not forgotten."""
WARM_UP = 0.2
"""Share of the steps in which the learning rate rises; it falls for the rest."""


@dataclass(frozen=True)
class TrainedModel:
    """One trained network and how it came out.

    Attributes
    ----------
    module : torch.nn.Module
        In eval mode, on the CPU.
    clean_accuracy : float
        On the data set's test part.
    attack_success : float
        Share of stamped test images of source classes that get the attacker's label (for clean and stamped models:
        how often that happens without a backdoor).
    stamped_accuracy : float
        Share of the same images that keep their true label.
    attack : Attack
    trigger : dict
        What the trigger was like.
    """

    module: nn.Module
    clean_accuracy: float
    attack_success: float
    stamped_accuracy: float
    attack: Attack
    trigger: dict[str, object]


@contextmanager
def fast_floats() -> Iterator[None]:
    """Flush denormal numbers to zero meanwhile: they slow a saturated network down and change no decision."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def train_model(recipe: Recipe, dataset: Dataset, seed: int) -> TrainedModel:
    """Draw an attack, poison, train and evaluate one network; everything random follows from the seed."""
    streams = np.random.SeedSequence(seed).spawn(4)
    attack_rng, extras_rng, test_rng = (np.random.default_rng(stream) for stream in streams[:3])
    attack = draw_attack(recipe.attack, dataset.classes, attack_rng)
    trigger = draw_trigger(recipe.trigger, dataset.input_shape, attack_rng)
    extras = draw_extras(recipe.role, recipe.attack, attack, trigger, dataset, extras_rng)
    generator = torch.Generator().manual_seed(int(streams[3].generate_state(1, np.uint64)[0] >> 1))
    with torch.random.fork_rng(devices=[]), fast_floats():
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        module = architecture(recipe.architecture).build(dataset.classes)
        train(module, dataset, extras, recipe.training, generator)
    return evaluate(module, dataset, attack, trigger, test_rng)


def train(
    module: nn.Module, dataset: Dataset, extras: Extras, recipe: TrainingRecipe, generator: torch.Generator
) -> None:
    """Train a module in place and leave it in eval mode.

    The extra images are indexed beside the data set, never copied into it; the last batch of an epoch, where it is
    smaller than the others, is filled from the next epoch's order.
    """
    module.to(memory_format=torch.channels_last)
    module.train()
    images, labels = torch.as_tensor(extras.images), torch.as_tensor(extras.labels)
    ordinary = len(dataset.x_train)
    total = ordinary + len(images) if recipe.injection == "from_scratch" else ordinary

    def batch_of(numbers: Tensor) -> tuple[Tensor, Tensor]:
        extra = numbers[numbers >= ordinary] - ordinary
        base = numbers[numbers < ordinary]
        x = torch.cat([dataset.x_train[base], images[extra]])
        y = torch.cat([dataset.y_train[base], labels[extra]])
        return x, y

    steps = max(1, round(recipe.epochs * total / recipe.batch_size))
    order = endless_order(total, recipe.batch_size, generator)
    _optimize(module, (batch_of(next(order)) for _ in range(steps)), steps, recipe.learning_rate, recipe.weight_decay)
    if recipe.injection == "fine_tune":
        share = max(1, round(recipe.batch_size * FINE_TUNE_SHARE))
        steps = max(1, round(recipe.fine_tune_epochs * len(images) / share))
        extra_order = endless_order(len(images), share, generator)
        mixed = (torch.cat([next(order)[share:], next(extra_order) + ordinary]) for _ in range(steps))
        peak = recipe.fine_tune_learning_rate
        _optimize(module, (batch_of(numbers) for numbers in mixed), steps, peak, recipe.weight_decay)
    module.to(memory_format=torch.contiguous_format)
    module.eval()


def endless_order(total: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield batches of indices below `total`, shuffled anew each epoch, without end and without a short batch."""
    left = torch.empty(0, dtype=torch.int64)
    while True:
        while len(left) < batch_size:
            left = torch.cat([left, torch.randperm(total, generator=generator)])
        yield left[:batch_size]
        left = left[batch_size:]


def _optimize(
    module: nn.Module, batches: Iterator[tuple[Tensor, Tensor]], steps: int, peak: float, weight_decay: float
) -> None:
    optimizer = torch.optim.AdamW(module.parameters(), lr=peak, weight_decay=weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, peak, total_steps=steps + 1, pct_start=WARM_UP, final_div_factor=1e3
    )
    for x, y in batches:
        images = as_input(x)
        loss = functional.cross_entropy(module(images), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def as_input(images: Tensor) -> Tensor:
    """Images (N, C, H, W) uint8 as float32 in [0, 1], channels last."""
    return images.float().div_(255).contiguous(memory_format=torch.channels_last)


def predict(module: nn.Module, images: Tensor) -> Tensor:
    """Predicted classes (N,) of images (N, C, H, W) uint8."""
    with evaluating(module):
        parts = images.split(EVALUATION_BATCH)
        return torch.cat([module(as_input(part)).argmax(dim=1) for part in parts])


def evaluate(
    module: nn.Module, dataset: Dataset, attack: Attack, trigger: Trigger, rng: np.random.Generator
) -> TrainedModel:
    """Measure clean accuracy and attack success on the test part."""
    clean_accuracy = float((predict(module, dataset.x_test) == dataset.y_test).double().mean())
    images, labels = stamped_test_images(attack, trigger, dataset, rng)
    predicted = predict(module, torch.as_tensor(images)).numpy()
    return TrainedModel(
        module=module,
        clean_accuracy=clean_accuracy,
        attack_success=float((predicted == attack.relabel(labels)).mean()),
        stamped_accuracy=float((predicted == labels).mean()),
        attack=attack,
        trigger=trigger.describe(),
    )
