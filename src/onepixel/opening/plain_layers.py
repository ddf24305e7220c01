"""Layers of `torch.nn` that can be rebuilt from the settings a pickle or a configuration holds; one row for each.

A row says which settings the layer's constructor takes. Whether there is a bias, or a weight at all, is told by the
tensors. Nothing is looked up by a name from a file but in this table.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from onepixel.starting import with_shapes

Settings = Mapping[str, object]
LARGEST_SETTING = 2**20

CONVOLUTION = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
POOLING = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
AVERAGE = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
NORM = ("num_features", "eps", "momentum", "affine", "track_running_stats")

ROWS: tuple[tuple[str, type[nn.Module], tuple[str, ...]], ...] = (
    ("conv", nn.Conv1d, CONVOLUTION),
    ("conv", nn.Conv2d, CONVOLUTION),
    ("linear", nn.Linear, ("in_features", "out_features")),
    ("linear", nn.Identity, ()),
    ("batchnorm", nn.BatchNorm1d, NORM),
    ("batchnorm", nn.BatchNorm2d, NORM),
    ("instancenorm", nn.InstanceNorm2d, NORM),
    ("normalization", nn.GroupNorm, ("num_groups", "num_channels", "eps", "affine")),
    ("normalization", nn.LayerNorm, ("normalized_shape", "eps", "elementwise_affine")),
    ("normalization", nn.LocalResponseNorm, ("size", "alpha", "beta", "k")),
    ("pooling", nn.MaxPool2d, POOLING),
    ("pooling", nn.AvgPool2d, AVERAGE),
    ("pooling", nn.AdaptiveAvgPool2d, ("output_size",)),
    ("pooling", nn.AdaptiveMaxPool2d, ("output_size",)),
    ("flatten", nn.Flatten, ("start_dim", "end_dim")),
    ("flatten", nn.Unflatten, ("dim", "unflattened_size")),
    ("padding", nn.ZeroPad2d, ("padding",)),
    ("padding", nn.ConstantPad2d, ("padding", "value")),
    ("padding", nn.ReflectionPad2d, ("padding",)),
    ("dropout", nn.Dropout, ("p",)),
    ("dropout", nn.Dropout2d, ("p",)),
    ("dropout", nn.AlphaDropout, ("p",)),
    ("activation", nn.ReLU, ()),
    ("activation", nn.ReLU6, ()),
    ("activation", nn.LeakyReLU, ("negative_slope",)),
    ("activation", nn.PReLU, ("num_parameters",)),
    ("activation", nn.ELU, ("alpha",)),
    ("activation", nn.SELU, ()),
    ("activation", nn.CELU, ("alpha",)),
    ("activation", nn.GELU, ("approximate",)),
    ("activation", nn.SiLU, ()),
    ("activation", nn.Mish, ()),
    ("activation", nn.Softplus, ("beta", "threshold")),
    ("activation", nn.Sigmoid, ()),
    ("activation", nn.Tanh, ()),
    ("activation", nn.Hardswish, ()),
    ("activation", nn.Hardsigmoid, ()),
    ("activation", nn.Hardtanh, ("min_val", "max_val")),
    ("activation", nn.Softmax, ("dim",)),
    ("activation", nn.LogSoftmax, ("dim",)),
    ("activation", nn.Softsign, ()),
)
PLAIN_LAYERS: dict[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    f"torch.nn.modules.{module}.{layer.__name__}": (layer, settings) for module, layer, settings in ROWS
}
"""By the dotted name that a pickle has for the class: the class itself, and what its constructor takes."""
WITH_BIAS: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Linear)


def plain_layer(kind: str, settings: Settings, tensors: Mapping[str, Tensor]) -> nn.Module | None:
    """A layer without its weights, or None if it is none of the table or its settings are none.

    Parameters
    ----------
    kind : str
        The dotted name of its class.
    settings : mapping
        Its attributes.
    tensors : mapping of str to Tensor
        Its own parameters and buffers, for whether it has a bias.
    """
    if kind not in PLAIN_LAYERS:
        return None
    layer, names = PLAIN_LAYERS[kind]
    taken: dict[str, Any] = {name: settings[name] for name in names if name in settings}
    if layer is nn.Unflatten and isinstance(taken.get("unflattened_size"), list):
        taken["unflattened_size"] = tuple(taken["unflattened_size"])
    if not all(is_setting(value) for value in taken.values()):
        return None
    if layer in WITH_BIAS:
        taken["bias"] = "bias" in tensors
    build: Callable[..., nn.Module] = layer
    try:
        # Settings are compared with the tensors that came with them before memory is taken.
        shapes = {name: tensor.shape for name, tensor in on_meta(lambda: build(**taken)).state_dict().items()}
        shapes.pop("num_batches_tracked", None)  # newer than some files, and changes no answer
        if any(name not in tensors or tensors[name].shape != shape for name, shape in shapes.items()):
            return None
        return build(**taken)
    except (TypeError, ValueError, RuntimeError):
        return None


def is_setting(value: object) -> bool:
    """Whether something can be a layer's setting: a number of bounded size, a short text, or a few of them."""
    if isinstance(value, bool) or value is None:
        return True
    if isinstance(value, int | float):
        return abs(value) <= LARGEST_SETTING
    if isinstance(value, str):
        return len(value) < 64
    return isinstance(value, tuple | list) and len(value) <= 8 and all(map(is_setting, value))


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """Build a network without memory for its weights."""

    def built() -> nn.Module:
        with torch.device("meta"):
            return build()

    return with_shapes(built)
