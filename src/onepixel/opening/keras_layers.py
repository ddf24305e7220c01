"""Keras' layers in torch, one function each: from a layer's configuration and arrays to modules on (N, C, H, W)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from onepixel.errors import ModelFileError

Arrays = list[NDArray[np.float32]]


class KerasFileError(ModelFileError):
    """A file points outside itself, or has a layer or a setting that is not known here.

    The text ends a sentence that begins with the file's name.
    """


@dataclass(frozen=True)
class Layer:
    """One layer of a configuration.

    Attributes
    ----------
    kind : str
        Its class.
    name : str
    settings : dict
    """

    kind: str
    name: str
    settings: dict[str, Any]

    @property
    def input_shape(self) -> tuple[int, int, int] | None:
        """(C, H, W) of the images, if this layer says it."""
        said = self.settings.get("batch_input_shape") or self.settings.get("batch_shape")
        if not isinstance(said, list) or len(said) != 4 or not all(is_size(size) for size in said[1:]):
            return None
        _, height, width, channels = said
        return channels, height, width

    def pair(self, name: str) -> tuple[int, int]:
        """A setting that is one or two sizes."""
        found = self.settings.get(name, 1)
        both = (found, found) if isinstance(found, int) else tuple(found or ())
        if len(both) != 2 or not all(map(is_size, both)):
            raise KerasFileError(f"has a layer whose {name} is not known")
        return both

    def require(self, **usual: object) -> None:
        """See that settings have the only values that are rebuilt."""
        for name, value in usual.items():
            if self.settings.get(name, value) not in (value, None):
                raise KerasFileError(f"has a {self.kind} layer with {name} {self.settings[name]}, which is not rebuilt")


def is_size(found: object) -> bool:
    """Whether something is a positive whole number of bounded size."""
    return isinstance(found, int) and not isinstance(found, bool) and 1 <= found <= 2**20


class SamePadding(nn.Module):
    """TensorFlow's padding "same": as many outputs as there are strides in the input, the odd one at the end."""

    def __init__(self, kernel: tuple[int, int], stride: tuple[int, int], value: float) -> None:
        super().__init__()
        self.kernel, self.stride, self.value = kernel, stride, value

    def forward(self, images: Tensor) -> Tensor:
        """Padded images (N, C, H, W)."""
        sides: list[int] = []
        for size, kernel, stride in zip(images.shape[-2:], self.kernel, self.stride, strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            sides = [total // 2, total - total // 2, *sides]
        return nn.functional.pad(images, sides, value=self.value)


class FlattenAsKeras(nn.Module):
    """Rows of numbers with the channels last, as Keras keeps its images."""

    def forward(self, images: Tensor) -> Tensor:
        """(N, H * W * C)."""
        return images.permute(0, 2, 3, 1).flatten(1) if images.ndim == 4 else images.flatten(1)


class Scaling(nn.Module):
    """Numbers times a factor plus a shift."""

    def __init__(self, factor: float, shift: float) -> None:
        super().__init__()
        self.factor, self.shift = factor, shift

    def forward(self, images: Tensor) -> Tensor:
        """The same shape."""
        return images * self.factor + self.shift


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "softmax": lambda: nn.Softmax(dim=1),
    "log_softmax": lambda: nn.LogSoftmax(dim=1),
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "relu6": nn.ReLU6,
    "swish": nn.SiLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
}


def activation(layer: Layer) -> Iterator[nn.Module]:
    """What a layer's `activation` says, nothing for none."""
    name = layer.settings.get("activation", "linear")
    if name in (None, "linear"):
        return
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise KerasFileError("has an activation that is not rebuilt here")
    yield ACTIVATIONS[name]()


def filled(module: nn.Module, arrays: Arrays, *names: str) -> nn.Module:
    """A module with these arrays under these names."""
    if len(arrays) != len(names):
        raise KerasFileError(f"lacks the numbers of a layer ({len(arrays)} arrays where {len(names)} are needed)")
    for name, array in zip(names, arrays, strict=True):
        place = getattr(module, name)
        if tuple(place.shape) != array.shape:
            raise KerasFileError(f"has a layer whose numbers are {array.shape}, not {tuple(place.shape)}")
        with torch.no_grad():
            place.copy_(torch.from_numpy(np.ascontiguousarray(array)))
    return module


def convolution(layer: Layer, arrays: Arrays) -> Iterator[nn.Module]:
    """Conv2D."""
    layer.require(data_format="channels_last", padding_mode=None)
    if not arrays or arrays[0].ndim != 4:
        raise KerasFileError("lacks the numbers of a layer")
    kernel, stride, dilation = layer.pair("kernel_size"), layer.pair("strides"), layer.pair("dilation_rate")
    groups = layer.settings.get("groups", 1)
    _, _, inputs, outputs = arrays[0].shape
    padding: tuple[int, int] = (0, 0)
    if layer.settings.get("padding") == "same":
        reach = ((kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1)
        if stride == (1, 1) and reach[0] % 2 and reach[1] % 2:
            padding = (reach[0] // 2, reach[1] // 2)
        else:
            yield SamePadding(reach, stride, 0.0)
    elif layer.settings.get("padding", "valid") != "valid":
        raise KerasFileError("has a convolution whose padding is not known")
    bias = bool(layer.settings.get("use_bias", True))
    module = nn.Conv2d(inputs * groups, outputs, kernel, stride, padding, dilation, groups, bias)
    turned = [arrays[0].transpose(3, 2, 0, 1), *arrays[1:]]
    yield filled(module, turned, "weight", *(["bias"] if bias else []))
    yield from activation(layer)


def dense(layer: Layer, arrays: Arrays) -> Iterator[nn.Module]:
    """Dense."""
    if not arrays or arrays[0].ndim != 2:
        raise KerasFileError("lacks the numbers of a layer")
    bias = bool(layer.settings.get("use_bias", True))
    inputs, outputs = arrays[0].shape
    module = nn.Linear(inputs, outputs, bias)
    yield filled(module, [arrays[0].T, *arrays[1:]], "weight", *(["bias"] if bias else []))
    yield from activation(layer)


def pooling(layer: Layer, arrays: Arrays) -> Iterator[nn.Module]:
    """MaxPooling2D and AveragePooling2D."""
    layer.require(data_format="channels_last")
    size = layer.pair("pool_size")
    stride = size if layer.settings.get("strides") is None else layer.pair("strides")
    if layer.kind.startswith("Max"):
        if layer.settings.get("padding") == "same":
            yield SamePadding(size, stride, float("-inf"))
        yield nn.MaxPool2d(size, stride)
        return
    layer.require(padding="valid")
    yield nn.AvgPool2d(size, stride)


def over_everything(layer: Layer, arrays: Arrays) -> Iterator[nn.Module]:
    """GlobalAveragePooling2D and GlobalMaxPooling2D."""
    layer.require(data_format="channels_last", keepdims=False)
    yield nn.AdaptiveAvgPool2d(1) if "Average" in layer.kind else nn.AdaptiveMaxPool2d(1)
    yield nn.Flatten()


def normalisation(layer: Layer, arrays: Arrays) -> Iterator[nn.Module]:
    """BatchNormalization, of images or of rows."""
    axis = layer.settings.get("axis", -1)
    if axis not in (-1, 3, [3], [-1]) or not arrays:
        raise KerasFileError("has a normalisation over another axis, which is not rebuilt")
    scale, center = layer.settings.get("scale", True), layer.settings.get("center", True)
    names = [*(["weight"] if scale else []), *(["bias"] if center else []), "running_mean", "running_var"]
    yield filled(Normalisation(len(arrays[0]), float(layer.settings.get("epsilon", 1e-3))), arrays, *names)


class Normalisation(nn.BatchNorm2d):
    """Batch normalisation of images or of rows, whichever comes."""

    def __init__(self, features: int, epsilon: float) -> None:
        super().__init__(features, eps=epsilon)

    def _check_input_dim(self, input: Tensor) -> None:
        """Both are right."""


def padding(layer: Layer, arrays: Arrays) -> Iterator[nn.Module]:
    """ZeroPadding2D."""
    layer.require(data_format="channels_last")
    found = layer.settings.get("padding", 1)
    (top, bottom), (left, right) = [
        (side, side) if isinstance(side, int) else side
        for side in ((found, found) if isinstance(found, int) else found)
    ]
    yield nn.ZeroPad2d((left, right, top, bottom))


def nothing(layer: Layer, arrays: Arrays) -> Iterator[nn.Module]:
    """Layers that change nothing when a trained network answers."""
    yield from ()


def scaling(layer: Layer, arrays: Arrays) -> Iterator[nn.Module]:
    """Rescaling."""
    factor, shift = layer.settings.get("scale", 1.0), layer.settings.get("offset", 0.0)
    if not isinstance(factor, int | float) or not isinstance(shift, int | float):
        raise KerasFileError("has a Rescaling layer with several numbers, which is not rebuilt")
    yield Scaling(float(factor), float(shift))


def leaky(layer: Layer, arrays: Arrays) -> Iterator[nn.Module]:
    """LeakyReLU."""
    yield nn.LeakyReLU(float(layer.settings.get("negative_slope", layer.settings.get("alpha", 0.3))))


def plain_relu(layer: Layer, arrays: Arrays) -> Iterator[nn.Module]:
    """ReLU without a slope or a threshold."""
    if layer.settings.get("max_value") == 6:
        layer.require(negative_slope=0.0, threshold=0.0)
        yield nn.ReLU6()
        return
    layer.require(max_value=None, negative_slope=0.0, threshold=0.0)
    yield nn.ReLU()


LAYERS: dict[str, Callable[[Layer, Arrays], Iterator[nn.Module]]] = {
    "InputLayer": nothing,
    "Dropout": nothing,
    "SpatialDropout2D": nothing,
    "GaussianNoise": nothing,
    "Conv2D": convolution,
    "Dense": dense,
    "MaxPooling2D": pooling,
    "AveragePooling2D": pooling,
    "GlobalAveragePooling2D": over_everything,
    "GlobalMaxPooling2D": over_everything,
    "BatchNormalization": normalisation,
    "ZeroPadding2D": padding,
    "Flatten": lambda layer, arrays: iter([FlattenAsKeras()]),
    "Activation": lambda layer, arrays: activation(layer),
    "ReLU": plain_relu,
    "LeakyReLU": leaky,
    "Softmax": lambda layer, arrays: iter([nn.Softmax(dim=1)]),
    "Rescaling": scaling,
}
"""How each layer is rebuilt, by its class in Keras."""
