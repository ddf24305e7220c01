"""A convnet with batch norm for 28 x 28 grey images, as in the Trojan Detection Challenge of 2022."""

from torch import Tensor, nn

from onepixel.architectures.table import ARCHITECTURES, Architecture


class ContestNetwork(nn.Module):
    """Convolutions of 16 (3 x 3), 32 and 32 maps (4 x 4, stride 2), batch norm after each, dense layers of 128 and K.

    The contest's MNIST networks are a small convnet; the widths here are ours.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 32, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(32 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, 1, 28, 28)."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


ARCHITECTURES.add(Architecture("contest_cnn", ContestNetwork, (1, 28, 28)))
