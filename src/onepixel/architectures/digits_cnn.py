"""A small CNN for scikit-learn's 8 x 8 digits, the data set that needs no download."""

from torch import Tensor, nn

from onepixel.architectures.table import ARCHITECTURES, Architecture


class DigitsCNN(nn.Module):
    """Two 3 x 3 convolutions (12 and 24 maps), one 2 x 2 pooling, dense layers of 48 and K units.

    Ours: the papers use no 8 x 8 images. Sized to train in about a second.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(24 * 4 * 4, 48), nn.ReLU(), nn.Linear(48, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, 1, 8, 8)."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


ARCHITECTURES.add(Architecture("digits_cnn", DigitsCNN, (1, 8, 8)))
