"""PreActResNet-18 for 32 x 32 colour images (He et al. 2016, "Identity mappings in deep residual networks")."""

from torch import Tensor, nn

from onepixel.architectures.table import ARCHITECTURES, Architecture


class PreActivationBlock(nn.Module):
    """Batch norm and ReLU before each of two 3 x 3 convolutions; the shortcut leaves after the first ReLU."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.activate = nn.Sequential(nn.BatchNorm2d(before), nn.ReLU())
        self.residual = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
        )
        self.shortcut = nn.Conv2d(before, after, 1, stride=stride, bias=False) if stride != 1 else None

    def forward(self, maps: Tensor) -> Tensor:
        """Feature maps (N, after, H / stride, W / stride)."""
        active = self.activate(maps)
        beside = maps if self.shortcut is None else self.shortcut(active)
        total: Tensor = self.residual(active) + beside
        return total


class PreActResNet18(nn.Module):
    """One 3 x 3 convolution, eight blocks (two each of 64, 128, 256 and 512 maps), average pooling, a dense layer."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, padding=1, bias=False)]
        before = 64
        for width in (64, 128, 256, 512):
            layers += [PreActivationBlock(before, width, 1 if before == width else 2)]
            layers += [PreActivationBlock(width, width, 1)]
            before = width
        self.features = nn.Sequential(*layers, nn.BatchNorm2d(512), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(512, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, 3, H, W), made for 32 x 32."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


ARCHITECTURES.add(Architecture("preact_resnet18", PreActResNet18, (3, 32, 32)))
