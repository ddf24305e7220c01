"""The networks of the papers, by name, and torchvision's for ImageNet."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from onepixel.architectures.alexnet import AlexNet
from onepixel.architectures.digits_cnn import DigitsCNN
from onepixel.architectures.lenet5 import LeNet5
from onepixel.architectures.resnet8 import ResNet8
from onepixel.architectures.six_plus_two import SixPlusTwo
from onepixel.architectures.vgg10 import VGG10
from onepixel.errors import UsageError

__all__ = ["ARCHITECTURES", "Architecture", "architecture"]


@dataclass(frozen=True)
class Architecture:
    """A network by name.

    Attributes
    ----------
    name : str
    build : callable
        From the number of classes K to a freshly initialised module that answers with logits.
    input_shape : tuple of int
        (C, H, W) of the images it was made for.
    """

    name: str
    build: Callable[[int], nn.Module]
    input_shape: tuple[int, int, int]


def _torchvision(name: str) -> Architecture:
    def build(classes: int) -> nn.Module:
        import torchvision

        module: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes)
        return module

    return Architecture(name, build, (3, 224, 224))


ARCHITECTURES: dict[str, Architecture] = {
    "lenet5": Architecture("lenet5", LeNet5, (1, 28, 28)),
    "resnet8": Architecture("resnet8", ResNet8, (1, 28, 28)),
    "alexnet": Architecture("alexnet", AlexNet, (1, 28, 28)),
    "vgg10": Architecture("vgg10", VGG10, (1, 28, 28)),
    "six_plus_two": Architecture("six_plus_two", SixPlusTwo, (3, 32, 32)),
    "digits_cnn": Architecture("digits_cnn", DigitsCNN, (1, 8, 8)),
    **{
        name: _torchvision(name)
        for name in ("resnet50", "vgg16", "resnext50_32x4d", "densenet121", "mobilenet_v2", "mobilenet_v3_small")
    },
}
"""Every architecture by its name. torchvision's AlexNet is not among them: `alexnet` is the one for 28 x 28."""


def architecture(name: str) -> Architecture:
    """The architecture of that name.

    Raises
    ------
    UsageError
        If there is none.
    """
    if name not in ARCHITECTURES:
        raise UsageError(f"Expected one of {', '.join(ARCHITECTURES)} for architecture but got {name!r}.")
    return ARCHITECTURES[name]
