"""The least that a signature costs: what the windows of its pixels need, at the rate of a matrix product."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from onepixel.classifiers import ModuleClassifier
from timing import fastest


def multiply_add_rate(device: torch.device, dtype: torch.dtype, size: int = 1024) -> float:
    """Multiply-adds per second in a square matrix product."""
    one, other = (torch.rand(size, size, device=device, dtype=dtype) for _ in range(2))
    run = {"product": lambda: [one @ other for _ in range(5)]}
    return 5 * size**3 / fastest(run, device, 5)["product"]


def window_multiply_adds(classifier: ModuleClassifier, mask: NDArray[np.bool_], sampled: int = 24) -> tuple[int, int]:
    """Multiply-adds per image that the windows of changed numbers need at least, and those of a full forward pass.

    A pixel is set to NaN: whatever it reaches becomes NaN. A convolution needs one multiply-add per changed input
    and weight that meets it, a dense layer one per changed input and output; all else is taken to cost nothing. The
    mean over some random pixels.
    """
    changed_total, full_total = 0, 0

    def count(part: nn.Module, inputs: tuple[Tensor, ...], answer: Tensor) -> None:
        nonlocal changed_total, full_total
        changed = inputs[0].isnan()
        if isinstance(part, nn.Linear):
            changed_total += int(changed.sum()) * part.out_features
            full_total += changed.numel() * part.out_features
        elif isinstance(part, nn.Conv2d):
            taps = torch.ones(part.out_channels, part.in_channels // part.groups, *part.kernel_size)
            how = (None, part.stride, part.padding, part.dilation, part.groups)
            changed_total += int(nn.functional.conv2d(changed.float().cpu(), taps, *how).sum())
            full_total += answer[0].numel() * taps[0].numel()

    parts = [part for part in classifier.module.modules() if isinstance(part, (nn.Linear, nn.Conv2d))]
    hooks = [part.register_forward_hook(count) for part in parts]
    pixels = np.argwhere(mask)
    drawn = pixels[np.random.default_rng(0).choice(len(pixels), min(sampled, len(pixels)), replace=False)]
    try:
        for row, column in drawn:
            image = torch.zeros(1, *classifier.input_shape, device=classifier.device, dtype=classifier.dtype)
            image[:, :, row, column] = float("nan")
            classifier(image)
    finally:
        for hook in hooks:
            hook.remove()
    return changed_total // len(drawn), full_total // len(drawn)
