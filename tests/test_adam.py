"""Adam on one tensor gives the numbers of torch's own optimiser."""

import pytest
import torch

from onepixel.reaches.adam import Adam


@pytest.mark.parametrize("shape", [(1,), (7, 3, 4, 4), (300, 1, 5, 5)])
def test_every_step_is_to_the_last_digit_that_of_torch(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    ours = torch.randn(shape, generator=generator)
    theirs = ours.clone().requires_grad_(True)
    adam, optimiser = Adam(ours, 0.5), torch.optim.Adam([theirs], lr=0.5, foreach=False)
    for power in (0, 2, -8, None, -3, 1):
        slope = torch.zeros(shape) if power is None else 10.0**power * torch.randn(shape, generator=generator)
        adam.step(slope)
        theirs.grad = slope.clone()
        optimiser.step()
        assert torch.equal(ours, theirs)


def test_a_tensor_that_gradients_are_taken_of_is_moved_in_place() -> None:
    moved = torch.tensor([3.0, -2.0], requires_grad=True)
    adam = Adam(moved, 0.1)
    for _ in range(200):
        (slope,) = torch.autograd.grad(moved.square().sum(), [moved])
        adam.step(slope)
    assert moved.requires_grad
    assert moved.abs().max() < 0.1
