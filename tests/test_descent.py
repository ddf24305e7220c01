"""Detectors' networks are trained to the numbers that torch's own optimizer and dropout give."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from onepixel.detectors.readings.descent import Descent, Dropout
from onepixel.detectors.readings.vanilla_cnn import VanillaCNN


@pytest.mark.parametrize("channels", [1, 3])
def test_descent_gives_the_numbers_of_torch_optimizer(channels: int) -> None:
    torch.manual_seed(0)
    ours = VanillaCNN(channels, 8, 8)
    theirs = copy.deepcopy(ours)
    inputs, wanted = torch.randn(11, channels, 8, 8), (torch.rand(11) > 0.5).float()

    torch.manual_seed(1)
    Descent(epochs=3, batch_size=4, learning_rate=2e-3, weight_decay=1e-2).train(
        ours,
        lambda chosen: functional.binary_cross_entropy_with_logits(ours(inputs[chosen]), wanted[chosen]),
        len(inputs),
        torch.Generator().manual_seed(2),
    )

    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(2)
    optimizer = torch.optim.AdamW(theirs.parameters(), 2e-3, weight_decay=1e-2)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 9)
    for _ in range(3):
        for chosen in torch.randperm(11, generator=generator).split(4):
            optimizer.zero_grad()
            functional.binary_cross_entropy_with_logits(theirs(inputs[chosen]), wanted[chosen]).backward()
            optimizer.step()
            decay.step()

    for found, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
        assert found.stride() == expected.stride()
        assert found.grad is None
        assert found.untyped_storage().nbytes() == found.numel() * found.element_size()


def test_dropout_drops_what_torch_drops() -> None:
    inputs = torch.randn(5, 40)
    ours, theirs = Dropout(0.3), nn.Dropout(0.3)
    for training in (True, False):
        torch.manual_seed(4)
        found = ours.train(training)(inputs)
        torch.manual_seed(4)
        assert torch.equal(found, theirs.train(training)(inputs))
