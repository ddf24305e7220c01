"""The networks whose signatures are timed, and where their weights come from."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from onepixel.classifiers import ModuleClassifier
from onepixel.datasets import load_dataset
from onepixel.populations.default_images import default_image_of, parse_default_image
from trained import Network, network_from, random_network, trained_network

GREY = "grey"
STARTS = ("black", GREY, "mean", "class means")
"""What signatures may start from; the last two are of the subject's data set."""


@dataclass(frozen=True)
class Subject:
    """A network to be measured: its images, the size of its grid, and the rows of pixels that a sample visits."""

    name: str
    dataset: str
    shape: tuple[int, int, int]
    values: int
    classes: int
    sampled_rows: int | None = None
    weights: str | None = None
    start: str = "black"

    @property
    def title(self) -> str:
        """Its name, with the default image if that is not black."""
        return self.name if self.start == "black" else f"{self.name}, {self.start}"

    @cached_property
    def default_images(self) -> NDArray[np.float32]:
        """The default images, (M, C, H, W)."""
        named = parse_default_image("0.5" if self.start == GREY else self.start)
        if isinstance(named, float):
            return np.full((1, *self.shape), named, dtype=np.float32)
        return np.asarray(default_image_of(named, load_dataset(self.dataset))).reshape(-1, *self.shape)

    def network(self) -> Network:
        """From the weights file that was named; else trained on MNIST where that fits and is found, else random."""
        if self.weights is not None:
            return network_from(self.name, Path(self.weights))
        on_mnist = self.shape == (1, 28, 28)
        return trained_network(self.name) if on_mnist else random_network(self.name, self.classes)

    def mask(self) -> NDArray[np.bool_]:
        """The pixels that the engines visit: all, or some whole rows drawn from a fixed seed."""
        _, height, width = self.shape
        mask = np.ones((height, width), dtype=bool)
        if self.sampled_rows is not None:
            mask[:] = False
            mask[np.random.default_rng(0).choice(height, self.sampled_rows, replace=False)] = True
        return mask

    def first_rows(self, rows: int) -> NDArray[np.bool_]:
        """The first rows of pixels of the sample."""
        mask = self.mask()
        mask[np.flatnonzero(mask.any(axis=1))[rows:]] = False
        return mask

    def classifier(self, network: Network, device: torch.device) -> ModuleClassifier:
        """A network as a classifier on a device."""
        return ModuleClassifier(network.module.to(device), self.shape, name=self.name)


SUBJECTS = (
    Subject("lenet5", "mnist", (1, 28, 28), 256, 10),
    Subject("resnet8", "mnist", (1, 28, 28), 256, 10),
    Subject("alexnet", "mnist", (1, 28, 28), 256, 10),
    Subject("vgg10", "mnist", (1, 28, 28), 256, 10),
    Subject("six_plus_two", "gtsrb", (3, 32, 32), 256, 43),
    Subject("resnet50", "imagenette", (3, 64, 64), 16, 1000, sampled_rows=8),
    Subject("vgg16", "imagenette", (3, 64, 64), 16, 1000, sampled_rows=8),
)
