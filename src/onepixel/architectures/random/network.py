"""The network that a draw describes, of PyTorch's own layers."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from onepixel.architectures.random.layers import Attention, Normalise, Positions, Residual, Tokens
from onepixel.starting import with_shapes

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


class RandomNetwork(nn.Module):
    """A network as drawn by `draw_network`.

    Parameters
    ----------
    drawn : dict
        What was drawn, as a record keeps it.
    shape : (int, int, int)
        (C, H, W) of the images.
    classes : int
        K.
    """

    def __init__(self, drawn: dict[str, Any], shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.prepare = Normalise(drawn["input"]["mean"], drawn["input"]["deviation"])
        build = {"convolutional": _convolutional, "perceptron": _perceptron, "transformer": _transformer}
        self.body, width = build[drawn["family"]](drawn, shape)
        self.answer = nn.Sequential(*_dropout(drawn), nn.Linear(width, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, C, H, W)."""
        logits: Tensor = self.answer(self.body(self.prepare(images)))
        return logits


def _activation(drawn: dict[str, Any]) -> nn.Module:
    return ACTIVATIONS[drawn["activation"]]()


def _dropout(drawn: dict[str, Any]) -> list[nn.Module]:
    return [nn.Dropout(drawn["dropout"])] if drawn["dropout"] else []


def _normalisation(drawn: dict[str, Any], width: int) -> list[nn.Module]:
    kind = drawn["normalisation"]
    if kind == "batch":
        return [nn.BatchNorm2d(width)]
    return [nn.GroupNorm(width // 4, width)] if kind == "group" else []


def _convolution(drawn: dict[str, Any], before: int, after: int, kernel: int, **settings: Any) -> list[nn.Module]:
    bias = drawn["normalisation"] == "none"
    convolution = nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=bias, **settings)
    return [convolution, *_normalisation(drawn, after)]


def _block(drawn: dict[str, Any], before: int, after: int, kernel: int, stride: int) -> list[nn.Module]:
    """The layers of one block, its last activation included."""
    if drawn["block"] == "depthwise":
        return [
            *_convolution(drawn, before, before, kernel, stride=stride, groups=before),
            _activation(drawn),
            *_convolution(drawn, before, after, 1),
            _activation(drawn),
        ]
    first = _convolution(drawn, before, after, kernel, stride=stride)
    if drawn["block"] == "plain":
        return [*first, _activation(drawn)]
    body = nn.Sequential(*first, _activation(drawn), *_convolution(drawn, after, after, 3))
    same = before == after and stride == 1
    shortcut = nn.Identity() if same else nn.Sequential(*_convolution(drawn, before, after, 1, stride=stride))
    return [Residual(body, shortcut), _activation(drawn)]


def _convolutional(drawn: dict[str, Any], shape: tuple[int, int, int]) -> tuple[nn.Module, int]:
    layers: list[nn.Module] = []
    before = shape[0]
    stride = drawn["stem_stride"]
    if drawn["block"] != "plain" or stride != 1:
        stem = drawn["stages"][0]["width"]
        layers += [*_convolution(drawn, before, stem, 3, stride=stride), _activation(drawn)]
        before = stem
    for stage in drawn["stages"]:
        for repeat in range(stage["repeats"]):
            last = repeat == stage["repeats"] - 1
            step = 2 if last and stage["downsampling"] == "stride" else 1
            layers += _block(drawn, before, stage["width"], stage["kernel"], step)
            before = stage["width"]
        if stage["downsampling"] == "max":
            layers.append(nn.MaxPool2d(2))
        elif stage["downsampling"] == "average":
            layers.append(nn.AvgPool2d(2))
    if drawn["head"] == "average":
        layers.append(nn.AdaptiveAvgPool2d(1))
    elif drawn["head"] == "max":
        layers.append(nn.AdaptiveMaxPool2d(1))
    body = nn.Sequential(*layers, nn.Flatten())
    features = _features(body, shape)
    if drawn["hidden"]:
        body.extend([nn.Linear(features, drawn["hidden"]), _activation(drawn)])
        features = drawn["hidden"]
    return body, features


def _features(body: nn.Module, shape: tuple[int, int, int]) -> int:
    """How many values the body makes of one image, found without computing any."""
    probe = copy.deepcopy(body).to("meta").eval()
    return int(with_shapes(lambda: probe(torch.empty(1, *shape, device="meta"))).shape[1])


def _perceptron(drawn: dict[str, Any], shape: tuple[int, int, int]) -> tuple[nn.Module, int]:
    normalisations: dict[str, Any] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
    before = shape[0] * shape[1] * shape[2]
    layers: list[nn.Module] = [nn.Flatten()]
    for width in drawn["widths"]:
        layers.append(nn.Linear(before, width))
        if drawn["normalisation"] in normalisations:
            layers.append(normalisations[drawn["normalisation"]](width))
        layers.append(_activation(drawn))
        before = width
    return nn.Sequential(*layers), before


def _transformer(drawn: dict[str, Any], shape: tuple[int, int, int]) -> tuple[nn.Module, int]:
    width, patch = drawn["width"], drawn["patch"]
    tokens = (shape[1] // patch) * (shape[2] // patch)
    layers: list[nn.Module] = [nn.Conv2d(shape[0], width, patch, stride=patch), Tokens(), Positions(tokens, width)]
    for _ in range(drawn["layers"]):
        wide = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), _activation(drawn), nn.Linear(2 * width, width)
        )
        attention = nn.Sequential(nn.LayerNorm(width), Attention(width, drawn["heads"]))
        layers += [Residual(attention, nn.Identity()), Residual(wide, nn.Identity())]
    layers += [nn.LayerNorm(width), _Mean()]
    return nn.Sequential(*layers), width


class _Mean(nn.Module):
    """The mean over tokens."""

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, width) of tokens (N, T, width)."""
        return tokens.mean(dim=1)
