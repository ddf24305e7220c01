"""The incremental engine against the definition: the same extremes at every pixel, borders included."""

import numpy as np
import pytest
import torch
from torch import nn

import onepixel
from onepixel.architectures import architecture
from onepixel.signatures import Signature


def compare(module: nn.Module, shape: tuple[int, int, int], tolerance: float, **settings: object) -> Signature:
    """Compute one signature by both engines and compare them."""
    classifier = onepixel.as_classifier(module, input_shape=shape)
    fast = onepixel.signature(classifier, engine="incremental", **settings)
    slow = onepixel.signature(classifier, engine="exhaustive", **settings)
    for name in ("low", "high", "base"):
        np.testing.assert_allclose(getattr(fast, name), getattr(slow, name), rtol=0, atol=tolerance)
    assert fast.engine == "incremental"
    return fast


@pytest.mark.parametrize("name", ["lenet5", "alexnet", "vgg10", "resnet8", "six_plus_two", "digits_cnn"])
@pytest.mark.parametrize("default_image", ["black", "noise"])
def test_incremental_engine_equals_exhaustive_engine_in_float64(name: str, default_image: str) -> None:
    torch.manual_seed(0)
    chosen = architecture(name)
    module = chosen.build(10).double()
    image = 0.0 if default_image == "black" else np.random.default_rng(0).random(chosen.input_shape)
    pixels = np.zeros(chosen.input_shape[1:], dtype=bool)
    pixels[::5, ::3] = pixels[-1, -1] = pixels[1, 1] = True
    compare(module, chosen.input_shape, 1e-9, values=3, default_image=image, pixels=pixels)
