"""Training an object detector from scratch: its body as a classifier of small images, then all of it on scenes."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from onepixel.architectures.torchvision_networks import IMAGENET
from onepixel.boxes.made_scenes import SceneRecipe, made_scenes
from onepixel.boxes.scene import Scene
from onepixel.boxes.small_network import SmallBackbone, SmallBody
from onepixel.boxes.table import DETECTOR_ARCHITECTURES
from onepixel.datasets import load_dataset
from onepixel.progress import counted

SIDES = (32, 48, 64)
"""Sides to which small images are resized, batch by batch, while a body learns them: those of objects in scenes."""


class BaseRecipe(BaseModel):
    """How the detector is trained that all others are fine-tuned from.

    Attributes
    ----------
    architecture : str
        A name in `DETECTOR_ARCHITECTURES`.
    scenes : SceneRecipe
    training_scenes : int
    seed : int
    body_epochs : int
        Epochs over the whole data set of the objects, all its classes, with which the body begins.
    epochs : int
        Over the scenes.
    batch_size : int
        Scenes.
    learning_rate : float
        The highest of a one-cycle schedule of AdamW.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str = "fasterrcnn_small_fpn"
    scenes: SceneRecipe = SceneRecipe()
    training_scenes: int = Field(2400, ge=1)
    seed: int = 0
    body_epochs: int = Field(6, ge=0)
    epochs: int = Field(4, ge=1)
    batch_size: int = Field(8, ge=1)
    learning_rate: float = Field(2e-3, gt=0)


def train_base(
    recipe: BaseRecipe, extra: Sequence[Scene] = (), *, device: str = "cpu", progress: bool = False
) -> FasterRCNN:
    """Train a detector from scratch; the same recipe gives the same detector on the same machine.

    Parameters
    ----------
    recipe : BaseRecipe
    extra : sequence of Scene
        Further scenes, such as poisoned ones: a backdoor that is trained in from scratch.
    device : str
        Where it is trained, "cuda" say; the detector comes back to the CPU.
    progress : bool
        Show progress bars on standard error.
    """
    torch.manual_seed(recipe.seed)
    architecture = DETECTOR_ARCHITECTURES[recipe.architecture]
    detector = architecture.build(len(recipe.scenes.classes) + 1, recipe.scenes.side).to(device)
    if recipe.body_epochs and isinstance(detector.backbone, SmallBackbone):
        train_body(detector.backbone.body, recipe, progress=progress)
    scenes = [*made_scenes(recipe.scenes, recipe.training_scenes, recipe.seed), *extra]
    train_on_scenes(detector, scenes, recipe, progress=progress)
    return detector.cpu()


def train_body(body: SmallBody, recipe: BaseRecipe, *, progress: bool = False) -> None:
    """Train the body as a classifier of the small images that scenes are made from, of all their classes."""
    dataset = load_dataset(recipe.scenes.objects)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(128, dataset.classes))
    head.to(next(body.parameters()).device)
    rng = np.random.default_rng([recipe.seed, 1])
    size = 128
    steps = recipe.body_epochs * (len(dataset.x_train) // size)
    weights = [*body.parameters(), *head.parameters()]
    optimizer, schedule = one_cycle(weights, steps, recipe.learning_rate)
    body.train(), head.train()
    device = weights[0].device
    mean, std = (torch.tensor(three).view(3, 1, 1) for three in IMAGENET)
    order = numbers(len(dataset.x_train), size, recipe.body_epochs, rng)
    for chosen in counted(order, "body", steps, "batches", enabled=progress):
        images = dataset.x_train[torch.as_tensor(chosen)].float() / 255
        if rng.random() < 0.5:
            images = images.flip(-1)
        shift = rng.integers(-4, 5, 2).tolist()
        side = int(rng.choice(SIDES))
        images = nn.functional.interpolate(images.roll(shift, (2, 3)), side, mode="bilinear", antialias=True)
        answers = head(body(((images - mean) / std).to(device))["1"])
        labels = dataset.y_train[torch.as_tensor(chosen)].to(device)
        loss = nn.functional.cross_entropy(answers, labels, label_smoothing=0.05)
        step(loss, weights, optimizer, schedule)


def train_on_scenes(
    detector: FasterRCNN, scenes: Sequence[Scene], recipe: BaseRecipe, *, progress: bool = False
) -> None:
    """Train all of a detector on scenes, each of them mirrored in half of the epochs."""
    rng = np.random.default_rng([recipe.seed, 2])
    steps = recipe.epochs * (len(scenes) // recipe.batch_size)
    weights = [one for one in detector.parameters() if one.requires_grad]
    optimizer, schedule = one_cycle(weights, steps, recipe.learning_rate)
    detector.train()
    device = weights[0].device
    order = numbers(len(scenes), recipe.batch_size, recipe.epochs, rng)
    for chosen in counted(order, "scenes", steps, "batches", enabled=progress):
        batch = [mirrored(scenes[n]) if rng.random() < 0.5 else scenes[n] for n in chosen]
        targets = [{name: part.to(device) for name, part in one.target().items()} for one in batch]
        losses = detector([one.tensor().to(device) for one in batch], targets)
        step(torch.stack(list(losses.values())).sum(), weights, optimizer, schedule)
    detector.eval()


def numbers(length: int, size: int, epochs: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the numbers of each batch: every epoch in another order, without what fills no batch."""
    for _ in range(epochs):
        order = rng.permutation(length)
        for start in range(0, length - size + 1, size):
            yield order[start : start + size]


def one_cycle(
    weights: Sequence[nn.Parameter], steps: int, highest: float
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.OneCycleLR]:
    """AdamW with a learning rate that rises, then falls to nothing."""
    optimizer = torch.optim.AdamW(weights, lr=highest, weight_decay=1e-2)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, highest, total_steps=max(steps, 1), pct_start=0.2)


def step(
    loss: Tensor,
    weights: Sequence[nn.Parameter],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    """Go one step down, with gradients no longer than 5 together."""
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(weights, 5.0)
    optimizer.step()
    schedule.step()


def mirrored(scene: Scene) -> Scene:
    """The scene with left and right exchanged."""
    boxes = scene.boxes.copy()
    boxes[:, [0, 2]] = scene.size[1] - scene.boxes[:, [2, 0]]
    return Scene(scene.image[:, :, ::-1].copy(), boxes, scene.labels)
