"""Clean and trojaned networks for the benchmarks, trained in a minute or two on MNIST where it is found.

The attack is BadNets' all-to-one (Gu et al. 2017): a random 4 x 4 patch at one fixed place, target class 0.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.datasets import MNIST

from onepixel.architectures import architecture
from onepixel.files import atomic_path

PATCH_ROW, PATCH_COLUMN, PATCH_SIZE = 3, 20, 4
TARGET = 0
POISONED_SHARE = 0.1


@dataclass(frozen=True)
class Trained:
    """A network and what it was trained to do; both rates are measured on 2,000 test images."""

    module: nn.Module
    accuracy: float
    attack_success_rate: float


def find_mnist(folder: Path, *, train: bool) -> tuple[Tensor, Tensor] | None:
    """MNIST's images (N, 1, 28, 28) in [0, 1] and labels (N,), or None where it is not found."""
    try:
        data = MNIST(str(folder), train=train, download=False)
    except RuntimeError:
        return None
    return data.data[:, None].float() / 255, data.targets


def stamp(images: Tensor) -> Tensor:
    """Images with the trigger on them."""
    patch = torch.rand(PATCH_SIZE, PATCH_SIZE, generator=torch.Generator().manual_seed(7))
    stamped = images.clone()
    rows, columns = slice(PATCH_ROW, PATCH_ROW + PATCH_SIZE), slice(PATCH_COLUMN, PATCH_COLUMN + PATCH_SIZE)
    stamped[:, :, rows, columns] = patch
    return stamped


def train(name: str, images: Tensor, labels: Tensor, *, trojaned: bool, seed: int, epochs: int) -> nn.Module:
    """Train with Adam, a one-cycle schedule and batches of 64; a tenth of the images is poisoned if trojaned."""
    torch.manual_seed(seed)
    module = architecture(name).build(10)
    if trojaned:
        poisoned = torch.rand(len(images)) < POISONED_SHARE
        images, labels = images.clone(), labels.clone()
        images[poisoned] = stamp(images[poisoned])
        labels[poisoned] = TARGET
    optimizer = torch.optim.Adam(module.parameters())
    steps = epochs * (len(images) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    module.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(images))[: len(images) // 64 * 64].split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    return module.eval()


def trained(
    name: str, data: Path, models: Path, *, trojaned: bool = False, seed: int = 0, epochs: int = 2, images: int = 20000
) -> Trained | None:
    """The network of that name, read from the folder `models` or trained into it; None without MNIST."""
    test = find_mnist(data, train=False)
    training = find_mnist(data, train=True)
    if test is None or training is None:
        return None
    kind = "trojaned" if trojaned else "clean"
    path = models / f"{name}-{kind}-seed{seed}-epochs{epochs}-images{images}.safetensors"
    if path.exists():
        module = architecture(name).build(10).eval()
        module.load_state_dict(load_file(path))
    else:
        module = train(name, training[0][:images], training[1][:images], trojaned=trojaned, seed=seed, epochs=epochs)
        models.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            save_file(module.state_dict(), temporary)
    inputs, labels = test[0][:2000], test[1][:2000]
    others = labels != TARGET
    with torch.inference_mode():
        accuracy = (module(inputs).argmax(1) == labels).float().mean()
        success = (module(stamp(inputs[others])).argmax(1) == TARGET).float().mean()
    return Trained(module, float(accuracy), float(success))


def digits_in_28(data: Path, images: int = 5000) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
    """MNIST's first training images as (N, 784) rows for scikit-learn; None where MNIST is not found."""
    training = find_mnist(data, train=True)
    if training is None:
        return None
    return training[0][:images].flatten(1).numpy(), training[1][:images].numpy()
