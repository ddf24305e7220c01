"""ResNet-20 for 32 x 32 colour images (He et al. 2016, section 4.2)."""

from torch import Tensor, nn

from onepixel.architectures.resnet8 import BasicBlock
from onepixel.architectures.table import ARCHITECTURES, Architecture


class ResNet20(nn.Module):
    """One 3 x 3 convolution, nine residual blocks (three each of 16, 32 and 64 maps), average pooling, a dense layer.

    Where the shape changes, the shortcut is a 1 x 1 convolution with batch norm (the paper's option B); the paper's
    CIFAR networks pad with zeros there.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
        before = 16
        for width in (16, 32, 64):
            for _ in range(3):
                layers.append(BasicBlock(before, width, 1 if before == width else 2))
                before = width
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1))
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(64, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, 3, H, W), made for 32 x 32."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


ARCHITECTURES.add(Architecture("resnet20", ResNet20, (3, 32, 32)))
