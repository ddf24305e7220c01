"""The MNIST network of MNTD (Xu et al. 2021, "Detecting AI trojans using meta neural analysis")."""

from torch import Tensor, nn

from onepixel.architectures.table import ARCHITECTURES, Architecture


class MNTDNetwork(nn.Module):
    """Two 5 x 5 convolutions (16 and 32 maps), each with 2 x 2 pooling, then dense layers of 512 and K units.

    Pooling comes before the ReLU: the same function, for a quarter of the work.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(16, 32, 5), nn.MaxPool2d(2), nn.ReLU()
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(32 * 4 * 4, 512), nn.ReLU(), nn.Linear(512, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, 1, 28, 28)."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


ARCHITECTURES.add(Architecture("mntd_cnn", MNTDNetwork, (1, 28, 28)))
