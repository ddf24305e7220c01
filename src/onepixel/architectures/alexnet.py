"""AlexNet scaled to 28 x 28 grey images (Krizhevsky et al. 2012)."""

from torch import Tensor, nn

from onepixel.architectures.table import ARCHITECTURES, Architecture


class AlexNet(nn.Module):
    """Five convolutions and three dense layers, pooled after the first, second and fifth convolution.

    The papers use AlexNet on 28 x 28 images without saying how it was made to fit. Chosen here: 3 x 3 kernels
    with padding 1, widths 24, 48, 96, 64, 64 and dense layers of 256, 128 and K, 2 x 2 pooling, dropout 0.2
    before the two hidden dense layers, no local response normalisation.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(24, 48, 3, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(48, 96, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(96, 64, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(64 * 3 * 3, 256),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Linear(128, classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, 1, 28, 28)."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


ARCHITECTURES.add(Architecture("alexnet", AlexNet, (1, 28, 28)))
