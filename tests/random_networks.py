"""Random small networks for property tests: any layers, strides, paddings, dilations, residuals, odd sizes."""

from collections.abc import Callable

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

Shape = tuple[int, int, int]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "leaky_relu": lambda: nn.LeakyReLU(0.1),
    "relu6": nn.ReLU6,
    "elu": nn.ELU,
    "prelu": nn.PReLU,
    "dropout": nn.Dropout,
    "identity": nn.Identity,
}


class Residual(nn.Module):
    """A block's output added to its input."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, maps: Tensor) -> Tensor:
        return self.block(maps) + maps


class Beside(nn.Module):
    """Two blocks' outputs concatenated along the channels."""

    def __init__(self, left: nn.Module, right: nn.Module) -> None:
        super().__init__()
        self.left, self.right = left, right

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([self.left(maps), self.right(maps)], 1)


class SqueezeExcitation(nn.Module):
    """Channels weighted by a function of their means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Conv2d(channels, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        return maps * functional.hardsigmoid(self.gate(functional.adaptive_avg_pool2d(maps, 1)))


class Affine(nn.Module):
    """Arithmetic with constants."""

    def forward(self, maps: Tensor) -> Tensor:
        return 0.5 - (maps * 1.5 + 0.25) / 2


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """With statistics as training leaves them."""
    norm = nn.BatchNorm2d(channels)
    for tensor, low, high in ((norm.running_mean, -0.5, 0.5), (norm.running_var, 0.5, 2), (norm.weight, -1, 1.5)):
        nn.init.uniform_(tensor, low, high)
    return norm


@st.composite
def convolutions(draw: st.DrawFn, channels: int) -> nn.Conv2d:
    """Any kernel, stride, padding, dilation and groups."""
    groups = draw(st.sampled_from([g for g in (1, 1, 2, channels) if channels % g == 0]))
    small = st.integers(1, 2)
    return nn.Conv2d(
        channels,
        groups * draw(st.integers(1, 3)),
        (draw(st.integers(1, 4)), draw(st.integers(1, 4))),
        stride=(draw(small), draw(st.integers(1, 3))),
        padding=(draw(st.integers(0, 2)), draw(st.integers(0, 3))),
        dilation=(draw(small), draw(small)),
        groups=groups,
        bias=draw(st.booleans()),
    )


def same(channels: int, outputs: int, kernel: int, dilation: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size."""
    return nn.Conv2d(channels, outputs, kernel, padding="same", dilation=dilation)


@st.composite
def layers(draw: st.DrawFn, shape: Shape) -> nn.Module:
    """One layer or block for maps of that shape (C, H, W); it may not fit."""
    channels = shape[0]
    kind = draw(
        st.sampled_from(
            ["conv", "conv", "conv", "norm", "act", "act", "max", "average", "adaptive", "residual", "beside", "gate"]
        )
    )
    activation = ACTIVATIONS[draw(st.sampled_from(sorted(ACTIVATIONS)))]
    kernel = draw(st.integers(2, 3))
    if kind == "conv":
        return draw(convolutions(channels))
    if kind == "norm":
        return batch_norm(channels)
    if kind == "act":
        return activation() if draw(st.booleans()) else Affine()
    if kind == "max":
        return nn.MaxPool2d(
            kernel,
            draw(st.integers(1, 3)),
            draw(st.integers(0, 1)),
            draw(st.integers(1, 2)),
            ceil_mode=draw(st.booleans()),
        )
    if kind == "average":
        return nn.AvgPool2d(
            kernel,
            draw(st.integers(1, 3)),
            draw(st.integers(0, 1)),
            ceil_mode=draw(st.booleans()),
            count_include_pad=draw(st.booleans()),
        )
    if kind == "adaptive":
        return nn.AdaptiveAvgPool2d((draw(st.integers(1, 4)), draw(st.integers(1, 4))))
    if kind == "residual":
        block = nn.Sequential(
            same(channels, channels, kernel, draw(st.integers(1, 2))), batch_norm(channels), activation()
        )
        return Residual(block)
    if kind == "beside":
        return Beside(nn.Sequential(same(channels, 2, kernel), activation()), nn.MaxPool2d(3, 1, 1))
    return SqueezeExcitation(channels)


@st.composite
def networks(draw: st.DrawFn) -> tuple[nn.Module, Shape]:
    """A network in float64 that answers with logits (N, 3), and the shape (C, H, W) of its images."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    image: Shape = (draw(st.sampled_from([1, 3])), draw(st.integers(3, 11)), draw(st.integers(3, 11)))
    parts: list[nn.Module] = []
    shape = image
    for _ in range(draw(st.integers(1, 6))):
        layer = draw(layers(shape)).eval()
        try:
            maps = layer(torch.zeros(1, *shape))
        except RuntimeError:
            continue
        after = maps.shape[1:]
        # A dilated max pooling at a border can see nothing but padding; what is infinite has no log-odds.
        if min(after) < 1 or after.numel() > 1500 or not maps.isfinite().all():
            continue
        parts.append(layer)
        shape = (after[0], after[1], after[2])
    if draw(st.booleans()):
        parts += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(shape[0], 3)]
    else:
        hidden = draw(st.integers(2, 5))
        size = shape[0] * shape[1] * shape[2]
        parts += [nn.Flatten(), nn.Linear(size, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, 3)]
    return nn.Sequential(*parts).double(), image
