"""torchvision's networks for ImageNet; its AlexNet is not among them: `alexnet` is the one for 28 x 28."""

from functools import partial

from torch import nn

from onepixel.architectures.table import ARCHITECTURES, Architecture

NAMES = ("resnet50", "vgg16", "resnext50_32x4d", "densenet121", "mobilenet_v2", "mobilenet_v3_small")


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of ImageNet's channels, which weights for it expect images to be normalised by."""


def build(name: str, classes: int) -> nn.Module:
    """A freshly initialised network of torchvision's; torchvision is imported only now."""
    import torchvision

    module: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes)
    return module


for name in NAMES:
    ARCHITECTURES.add(Architecture(name, partial(build, name), (3, 224, 224)))
