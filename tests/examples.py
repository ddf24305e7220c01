"""Classifiers that the tests of the signatures ask, and the default images they are asked about."""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor, nn

from onepixel import as_classifier
from onepixel.architectures import architecture
from onepixel.classifiers import Classifier, EstimatorClassifier, ModuleClassifier

NETWORKS = ("lenet5", "resnet8", "alexnet", "vgg10", "six_plus_two", "digits_cnn")
BLACK_BOXES = ("tree",)


def bold_network(name: str, seed: int = 0) -> nn.Module:
    """A random network whose answers move with its input: wider weights, batch norms that have seen something."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    module = architecture(name).build(4).eval()
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, (nn.Conv2d, nn.Linear)):
                part.weight.mul_(2.0)
                if part.bias is not None:
                    part.bias.copy_(0.3 * torch.randn(part.bias.shape, generator=generator))
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.copy_(0.3 * torch.randn(part.running_mean.shape, generator=generator))
                part.running_var.copy_(0.5 + torch.rand(part.running_var.shape, generator=generator))
    return module


@cache
def example(name: str, dtype: torch.dtype = torch.float64) -> Classifier:
    """A classifier by the name of its row: one of `NETWORKS`, or "tree"."""
    if name == "tree":
        random = np.random.default_rng(0)
        images = random.random((400, 64)) * (random.random((400, 64)) < 0.3)
        labels = (images[:, 0] > 0.3).astype(int) + (images[:, 27] > 0.5) + (images[:, 28] > 0.2)
        tree = DecisionTreeClassifier(max_depth=6, min_samples_leaf=5, random_state=0).fit(images, labels)
        return EstimatorClassifier(tree, (1, 8, 8))
    return as_classifier(bold_network(name).to(dtype), input_shape=architecture(name).input_shape)


def default_image(kind: str, shape: tuple[int, int, int]) -> float | NDArray[np.float32]:
    """A default image by the name of its row: "black", "white" or "noise"."""
    if kind == "noise":
        return np.random.default_rng(1).random(shape).astype(np.float32)
    return {"black": 0.0, "white": 1.0}[kind]


def a_few_pixels(shape: tuple[int, int, int], count: int = 6) -> NDArray[np.bool_]:
    """A mask of two corners, the middle and a few random pixels."""
    _, height, width = shape
    mask = np.zeros((height, width), dtype=bool)
    mask[0, 0] = mask[-1, -1] = mask[height // 2, width // 2] = True
    random = np.random.default_rng(2)
    while mask.sum() < count:
        mask[random.integers(height), random.integers(width)] = True
    return mask


class Counting:
    """A classifier that keeps what it is asked: the images, and how many in each call."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.input_shape = classifier.input_shape
        self.outputs = classifier.outputs
        self.classes = classifier.classes
        self.device = classifier.device
        self.dtype = classifier.dtype
        self.name = classifier.name
        self.calls: list[int] = []
        self.images: list[bytes] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.calls.append(len(images))
        self.images.extend(image.numpy().tobytes() for image in images)
        return self.classifier(images)


def linear_classifier(
    input_shape: tuple[int, int, int] = (1, 4, 4), classes: int = 3, *, scale: float = 5.0
) -> ModuleClassifier:
    """Logits that are linear in the image: every response is monotone in log p."""
    torch.manual_seed(3)
    layer = nn.Linear(int(np.prod(input_shape)), classes)
    with torch.no_grad():
        layer.weight.mul_(scale)
    return ModuleClassifier(nn.Sequential(nn.Flatten(), layer), input_shape)
