"""What a network costs for one image, counted without computing anything."""

import torch
from torch import Tensor, nn

VALUE_COST = 40
"""What writing one value of a layer costs, in multiplications: on one core, maps cost more memory traffic than
arithmetic."""


def operations(network: nn.Module, shape: tuple[int, int, int]) -> float:
    """Multiplications in convolutions and dense layers for one image, and `VALUE_COST` per value that layers put out.

    Parameters
    ----------
    network : torch.nn.Module
        On the device "meta".
    shape : (int, int, int)
        (C, H, W).
    """
    counted = 0.0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal counted
        counted += output.numel() * VALUE_COST
        if isinstance(layer, nn.Conv2d | nn.Linear):
            counted += output.numel() * layer.weight[0].numel()

    hooks = [layer.register_forward_hook(count) for layer in network.modules() if not list(layer.children())]
    was_training = network.training
    network.eval()
    with torch.no_grad():
        network(torch.empty(1, *shape, device="meta"))
    network.train(was_training)
    for hook in hooks:
        hook.remove()
    return counted
