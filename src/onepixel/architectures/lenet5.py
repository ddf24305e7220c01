"""LeNet-5 for 28 x 28 grey images (LeCun et al. 1998)."""

from torch import Tensor, nn

from onepixel.architectures.table import ARCHITECTURES, Architecture


class LeNet5(nn.Module):
    """Two 5 x 5 convolutions (6 and 16 maps), each with 2 x 2 pooling, then dense layers of 120, 84 and K units.

    The papers name LeNet-5 and leave the rest open. Chosen here: ReLU and max pooling instead of tanh and
    subsampling, a first convolution padded by 2 (as if the image were 32 x 32), no dropout, no batch norm. Pooling
    comes before the ReLU: the same function, for a quarter of the work.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(6, 16, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * 5 * 5, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, 1, 28, 28)."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


ARCHITECTURES.add(Architecture("lenet5", LeNet5, (1, 28, 28)))
