"""Reading data sets of image files of many sizes, as torchvision gives them, into one array."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor


class Images(Protocol):
    """What torchvision's data sets of files have: a length, and an image of Pillow with its label at each index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Any, int]: ...


def read_images(part: Images, prepare: Callable[[Any], Any]) -> tuple[Tensor, Tensor]:
    """Images (N, 3, H, W) uint8 and labels (N,) of one part, each image prepared to one size."""
    from torchvision.transforms import functional

    images, labels = [], []
    for index in range(len(part)):
        image, label = part[index]
        images.append(functional.pil_to_tensor(prepare(image.convert("RGB"))))
        labels.append(label)
    return torch.stack(images), torch.tensor(labels)
