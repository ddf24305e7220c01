"""Training one small network as cheaply as it goes: data in memory as uint8, no per-sample Python, one thread."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice, repeat
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from onepixel.classifiers.module import evaluating
from onepixel.datasets import Dataset
from onepixel.errors import UsageError
from onepixel.populations.augment import augmented
from onepixel.populations.default_images import default_image_of
from onepixel.populations.networks import draw_for, initial_network, training_of
from onepixel.populations.recipe import Precision, Recipe, TrainingRecipe
from onepixel.trojan import (
    Attack,
    EvasionLoss,
    EvasionRecipe,
    Extras,
    Trigger,
    draw_attack,
    draw_extras,
    draw_probes,
    draw_trigger,
    stamped_test_images,
)

EVALUATION_BATCH = {"float32": 512, "bfloat16": 128}
"""Images at once on a processor, whichever is fastest there."""
FINE_TUNE_SHARE = 0.25
"""Share of extra images in a fine-tuning mini-batch; the rest are ordinary ones, so that they are not forgotten."""
WARM_UP = 0.2
"""Share of the steps in which the learning rate rises; it falls for the rest."""
SHORTEST_CYCLE = 5
"""Steps that a one-cycle schedule needs to rise at all; a shorter training breaks it off."""


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
    network : dict
        What was drawn about a network of random architecture.
    """

    module: nn.Module
    clean_accuracy: float
    attack_success: float
    stamped_accuracy: float
    attack: Attack
    trigger: dict[str, object]
    network: dict[str, Any] = field(default_factory=dict)


@contextmanager
def fast_floats() -> Iterator[None]:
    """Flush denormal numbers to zero meanwhile: they slow a saturated network down and change no decision."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@dataclass(frozen=True)
class Draws:
    """Everything random about one network, as it follows from the network's seed.

    Attributes
    ----------
    attack : Attack
    trigger : Trigger
    extras : Extras
    test_rng : numpy.random.Generator
        For stamping test images.
    generator : torch.Generator
        For the order of the training images.
    initial_seed : int
        Of the initial weights.
    probe_rng : numpy.random.Generator
        For what a network that hides is asked meanwhile.
    network : dict
        What was drawn about a network of random architecture.
    """

    attack: Attack
    trigger: Trigger
    extras: Extras
    test_rng: np.random.Generator
    generator: torch.Generator
    initial_seed: int
    probe_rng: np.random.Generator
    network: dict[str, Any] = field(default_factory=dict)


def draw(recipe: Recipe, dataset: Dataset, seed: int) -> Draws:
    """Draw an attack, a trigger and the extra images of one network."""
    streams = np.random.SeedSequence(seed).spawn(6)
    attack_rng, extras_rng, test_rng = (np.random.default_rng(stream) for stream in streams[:3])
    attack = draw_attack(recipe.attack, dataset.classes, attack_rng)
    trigger = draw_trigger(recipe.trigger, dataset.input_shape, attack_rng)
    extras = draw_extras(recipe.role, recipe.attack, attack, trigger, dataset, extras_rng)
    generator = torch.Generator().manual_seed(int(streams[3].generate_state(1, np.uint64)[0] >> 1))
    initial_seed = int(torch.randint(2**62, (), generator=generator))
    probe_rng, network_rng = (np.random.default_rng(stream) for stream in streams[4:])
    network = draw_for(recipe, dataset, network_rng)
    return Draws(attack, trigger, extras, test_rng, generator, initial_seed, probe_rng, network)


def train_model(recipe: Recipe, dataset: Dataset, seed: int, base: Mapping[str, Tensor] | None = None) -> TrainedModel:
    """Draw an attack, poison, train and evaluate one network; everything random follows from the seed.

    Where the recipe has a base, training goes on from these weights.
    """
    draws = draw(recipe, dataset, seed)
    hiding = hiding_loss(recipe, dataset, seed, draws, base)
    with torch.random.fork_rng(devices=[]), fast_floats():
        torch.manual_seed(draws.initial_seed)
        module = initial_network(recipe, draws.network, dataset.input_shape, dataset.classes)
        if base is not None:
            module.load_state_dict(base)
        train(module, dataset, draws.extras, training_of(recipe, draws.network), draws.generator, hiding)
    return evaluate(module, dataset, draws, recipe.training.evaluation_precision)


def hiding_loss(
    recipe: Recipe, dataset: Dataset, seed: int, draws: Draws, base: Mapping[str, Tensor] | None = None
) -> EvasionLoss | None:
    """What a network that hides from probing has in its loss besides; may train a clean network to look like."""
    if recipe.evasion is None:
        return None
    probes = draw_probes(recipe.evasion, draws.trigger, expected_images(recipe.evasion, dataset), draws.probe_rng)
    clean = None
    if recipe.evasion.towards == "clean_network":
        clean = train_model(recipe.without_backdoor(), dataset, seed, base).module
    return EvasionLoss(recipe.evasion, probes, draws.probe_rng, clean)


def expected_images(evasion: EvasionRecipe, dataset: Dataset) -> NDArray[np.uint8]:
    """The default images (M, C, H, W) from which an attacker expects probing to start."""
    if evasion.starts_from == "black":
        return np.zeros((1, *dataset.input_shape), np.uint8)
    return np.rint(255 * np.asarray(default_image_of("class means", dataset))).astype(np.uint8)


def train(
    module: nn.Module,
    dataset: Dataset,
    extras: Extras,
    recipe: TrainingRecipe,
    generator: torch.Generator,
    hiding: EvasionLoss | None = None,
) -> None:
    """Train a module in place and leave it in eval mode.

    The extra images are indexed beside the data set, never copied into it. `hiding` is added to the loss.
    """
    module.to(memory_format=torch.channels_last)
    module.train()
    tuned = parameters_from(module, recipe.tuned_from)
    images, labels = torch.as_tensor(extras.images), torch.as_tensor(extras.labels)
    ordinary = ordinary_images(recipe, dataset)

    def loss_of(numbers: Tensor, side: int | None) -> Tensor:
        extra = numbers[numbers >= ordinary] - ordinary
        base = numbers[numbers < ordinary]
        x = torch.cat([dataset.x_train[base], images[extra]])
        y = torch.cat([dataset.y_train[base], labels[extra]])
        shown = augmented(as_input(x), recipe.augmentations)
        with precision_of(recipe, "cpu"):
            answers = module(at_side(shown, side))
        loss = functional.cross_entropy(answers.float(), y, label_smoothing=recipe.label_smoothing)
        return loss if hiding is None else loss + hiding(module)

    for phase in phases(recipe, ordinary, len(images), generator):
        sides = chain(repeat(recipe.low_resolution, phase.low_resolution_steps), repeat(None))
        optimize(tuned, phase, recipe, map(loss_of, phase.batches, sides))
    module.requires_grad_(True).to(memory_format=torch.contiguous_format)
    module.eval()


def parameters_from(module: nn.Module, first: str | None) -> list[nn.Parameter]:
    """The parameters of a module from one of its parts on, in the order of definition; those before are fixed.

    Raises
    ------
    UsageError
        If it has no such part.
    """
    parts = list(module.named_modules())
    names = [name for name, _ in parts]
    if first is not None and first not in names:
        raise UsageError(
            f"The network has no part {first!r} from which to train it; it has {', '.join(names[1:9])}, ..."
        )
    fixed = [] if first is None else parts[: names.index(first)]
    for _, part in fixed:
        part.training = False
        for parameter in part.parameters(recurse=False):
            parameter.requires_grad_(False)
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def at_side(images: Tensor, side: int | None) -> Tensor:
    """Images (N, C, H, W) shrunk to so many rows and columns, by means of the pixels that fall together."""
    if side is None:
        return images
    shrunk = functional.interpolate(images, (side, side), mode="bilinear", antialias=True)
    return shrunk.contiguous(memory_format=torch.channels_last)


def ordinary_images(recipe: TrainingRecipe, dataset: Dataset) -> int:
    """How many of a data set's training images are trained on: the first ones."""
    return min(recipe.images or len(dataset.x_train), len(dataset.x_train))


def precision_of(recipe: TrainingRecipe, device_type: str) -> torch.autocast:
    """The context in which a module answers while it is trained."""
    return torch.autocast(device_type, torch.bfloat16, enabled=recipe.precision == "bfloat16")


def computes_bfloat16() -> bool:
    """Whether this processor has the wide instructions that bfloat16 needs; one without takes ten times as long.

    oneDNN, which torch computes with, has fast paths for bfloat16 from AVX-512 on, and on Arm with SVE.
    """
    return torch.backends.cpu.get_cpu_capability().startswith(("AVX512", "SVE"))


@dataclass(frozen=True)
class Phase:
    """A part of a training with a one-cycle schedule of its own.

    Attributes
    ----------
    steps : int
    peak : float
        Largest learning rate.
    batches : iterator of Tensor of shape (B,), int64
        Numbers of images, one batch per step: first those of the data set, from its size on the extra ones.
    low_resolution_steps : int
        In so many first steps images are shrunk.
    """

    steps: int
    peak: float
    batches: Iterator[Tensor]
    low_resolution_steps: int = 0


def phases(recipe: TrainingRecipe, ordinary: int, extra: int, generator: torch.Generator) -> Iterator[Phase]:
    """Yield the phases of one training, given how many ordinary and extra images there are."""
    total = ordinary + extra if recipe.injection == "from_scratch" else ordinary
    steps = max(1, round(recipe.epochs * total / recipe.batch_size))
    order = endless_order(total, recipe.batch_size, generator)
    if recipe.injection != "fine_tune_base":
        low = 0 if recipe.low_resolution is None else round(recipe.low_resolution_share * steps)
        yield Phase(steps, recipe.learning_rate, islice(order, steps), low)
    if recipe.injection != "from_scratch":
        share = max(1, round(recipe.batch_size * FINE_TUNE_SHARE))
        steps = max(1, round(recipe.fine_tune_epochs * extra / share))
        extra_order = endless_order(extra, share, generator)
        mixed = (torch.cat([next(order)[share:], next(extra_order) + ordinary]) for _ in range(steps))
        yield Phase(steps, recipe.fine_tune_learning_rate, mixed)


def endless_order(total: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield batches of indices below `total`, shuffled anew each epoch, without end.

    The last batch of an epoch, where it would be smaller than the others, is filled from the next epoch's order.
    """
    left = torch.empty(0, dtype=torch.int64)
    while True:
        while len(left) < batch_size:
            left = torch.cat([left, torch.randperm(total, generator=generator)])
        yield left[:batch_size]
        left = left[batch_size:]


def optimizer_of(recipe: TrainingRecipe, parameters: Iterable[Tensor], peak: float) -> torch.optim.Optimizer:
    """The recipe's optimizer."""
    decay = recipe.weight_decay
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=peak, momentum=0.9, nesterov=True, weight_decay=decay, fused=True)
    return torch.optim.AdamW(parameters, lr=peak, weight_decay=decay, fused=True)


def optimize(parameters: Iterable[Tensor], phase: Phase, recipe: TrainingRecipe, losses: Iterator[Tensor]) -> None:
    """Take one step per loss; `losses` computes each one when it is asked for it."""
    optimizer = optimizer_of(recipe, parameters, phase.peak)
    total = max(phase.steps, SHORTEST_CYCLE) + 1
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, phase.peak, total_steps=total, pct_start=WARM_UP, final_div_factor=1e3
    )
    for loss in losses:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def as_input(images: Tensor) -> Tensor:
    """Images (N, C, H, W) uint8 as float32 in [0, 1], channels last."""
    return images.float().div_(255).contiguous(memory_format=torch.channels_last)


def predict(module: nn.Module, images: Tensor, precision: Precision = "float32") -> Tensor:
    """Predicted classes (N,) of images (N, C, H, W) uint8; the module is asked on its own device."""
    device = next(module.parameters()).device
    batch = EVALUATION_BATCH[precision] if device.type == "cpu" else len(images)
    with evaluating(module), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        parts = images.to(device).split(batch)
        return torch.cat([module(as_input(part)).argmax(dim=1) for part in parts]).cpu()


def accuracy(module: nn.Module, dataset: Dataset, precision: Precision = "float32") -> float:
    """Share of a data set's test images that are classified rightly."""
    return float((predict(module, dataset.x_test, precision) == dataset.y_test).double().mean())


def evaluate(module: nn.Module, dataset: Dataset, draws: Draws, precision: Precision = "float32") -> TrainedModel:
    """Measure clean accuracy and attack success on the test part."""
    clean_accuracy = accuracy(module, dataset, precision)
    images, labels = stamped_test_images(draws.attack, draws.trigger, dataset, draws.test_rng)
    predicted = predict(module, torch.as_tensor(images), precision).numpy()
    return TrainedModel(
        module=module,
        clean_accuracy=clean_accuracy,
        attack_success=float((predicted == draws.attack.relabel(labels)).mean()),
        stamped_accuracy=float((predicted == labels).mean()),
        attack=draws.attack,
        trigger=draws.trigger.describe(),
        network=draws.network,
    )
