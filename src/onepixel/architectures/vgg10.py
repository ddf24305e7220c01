"""VGG-10 for 28 x 28 grey images (Simonyan and Zisserman 2015, cut down)."""

from torch import Tensor, nn

from onepixel.architectures.table import ARCHITECTURES, Architecture


class VGG10(nn.Module):
    """Seven 3 x 3 convolutions in three stages (16, 16; 32, 32; 64, 64, 64) and three dense layers.

    No published VGG has ten layers; the papers do not say which they cut. Chosen here: VGG-16's first three stages
    at a quarter of its widths, batch norm after each convolution, and dense layers of 128, 128 and K.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for stage in ((16, 16), (32, 32), (64, 64, 64)):
            for after in stage:
                layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
                before = after
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64 * 3 * 3, 128),
            nn.ReLU(),
            nn.Linear(128, 128),
            nn.ReLU(),
            nn.Linear(128, classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, 1, 28, 28)."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


ARCHITECTURES.add(Architecture("vgg10", VGG10, (1, 28, 28)))
