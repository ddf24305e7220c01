"""The "6+2 Net" for 32 x 32 colour images (Neural Cleanse, Wang et al. 2019; ECCV 2020, section 5)."""

from torch import Tensor, nn

from onepixel.architectures.table import ARCHITECTURES, Architecture


class SixPlusTwo(nn.Module):
    """Six 3 x 3 convolutions in three stages (32, 64 and 128 maps) and two dense layers (512 and K).

    ECCV says "6 convolution layers and 2 dense layers in line with Neural Cleanse"; widths and dropout are that
    paper's, and every convolution is padded by 1.
    """

    def __init__(self, classes: int = 43) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for after in (32, 64, 128):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
            layers += [nn.Conv2d(after, after, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(), nn.Dropout(0.2)]
            before = after
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(128 * 4 * 4, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, 3, 32, 32)."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


ARCHITECTURES.add(Architecture("six_plus_two", SixPlusTwo, (3, 32, 32)))
