"""Weights as people really save them: every way gives the signature of the same network in its plain form."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune

import onepixel
from onepixel.architectures.lenet5 import LeNet5
from onepixel.errors import ModelFileError, UsageError
from onepixel.opening import Format, Limits, open_file
from onepixel.opening.recognise import recognise
from onepixel.opening.request import Request
from onepixel.signatures import Signature
from opening.model_files import SHAPE, network

FEW: dict[str, Any] = {"values": 8, "pixels": 6, "engine": "exhaustive"}
Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def expected() -> Signature:
    return onepixel.signature(onepixel.as_classifier(network(), input_shape=SHAPE), **FEW)


def opened(path: Path, **said: Any) -> Any:
    """Open a file as the sandboxed child does."""
    said = {"normalize": "none", **said}
    return open_file(Request.make(path, recognise(path, Limits()), **said), Limits(), sandboxed=True)


def same(classifier: Any, expected: Signature, tolerance: float = 1e-5) -> bool:
    found = onepixel.signature(classifier, **FEW)
    return all(np.allclose(getattr(found, part), getattr(expected, part), atol=tolerance, equal_nan=True)
               for part in ("low", "high", "base"))  # fmt: skip


def prefixed(weights: Weights, prefix: str) -> Weights:
    return {f"{prefix}{name}": tensor for name, tensor in weights.items()}


def zeros(weights: Weights) -> Weights:
    return {name: torch.zeros_like(tensor) for name, tensor in weights.items()}


def trained(weights: Weights) -> dict[str, Any]:
    """A checkpoint as research code writes it."""
    module = network()
    optimizer = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9)
    module(torch.zeros(1, *SHAPE)).sum().backward()
    optimizer.step()
    return {
        "args": argparse.Namespace(lr=0.1, layers=[1, 2], path=Path("runs")),
        "best": np.float64(0.99),
        "mean": np.arange(3.0),
        "epoch": np.int64(3),
        "optimizer": optimizer.state_dict(),
        "net": weights,
    }


CHECKPOINTS: dict[str, tuple[Callable[[Weights], Any], str]] = {
    "torch.compile": (lambda w: prefixed(w, "_orig_mod."), "torch.compile"),
    "a compiled part": (lambda w: {k.replace("features", "features._orig_mod"): v for k, v in w.items()}, "compile"),
    "net": (lambda w: prefixed(w, "net."), "'net.'"),
    "model": (lambda w: {"state_dict": prefixed(w, "model.")}, "'model.'"),
    "backbone": (lambda w: {"state_dict": prefixed(w, "module.backbone.")}, "'module.backbone.'"),
    "Lightning": (lambda w: {"state_dict": prefixed(w, "model.net."), "hyper_parameters": {"lr": 1}}, "'model.net.'"),
    "weights": (lambda w: {"weights": w, "epoch": 3}, "'weights'"),
    "params": (lambda w: {"params": w}, "'params'"),
    "ema": (lambda w: {"epoch": 1, "ema_state_dict": w}, "'ema_state_dict'"),
    "two levels deep": (lambda w: {"state": {"generator": w}, "epoch": 1}, "'state.generator'"),
    "a pair": (lambda w: [w, {"state": {}, "param_groups": [{"lr": 0.1}]}], "'0'"),
    "counted": (lambda w: {**w, "total_ops": torch.zeros(1), "features.0.total_ops": torch.zeros(1)}, "Counts"),
    "Namespace, NumPy, optimizer": (trained, "argparse.Namespace"),
}


@pytest.mark.parametrize("way", CHECKPOINTS)
def test_checkpoint_gives_the_signature_of_the_plain_file_and_says_what_was_done(
    way: str, tmp_path: Path, expected: Signature
) -> None:
    make, said = CHECKPOINTS[way]
    torch.save(make(dict(network().state_dict())), tmp_path / "m")
    classifier = opened(tmp_path / "m", architecture="lenet5")
    assert same(classifier, expected)
    assert said in " ".join(classifier.assumptions)


@pytest.mark.parametrize("wrapped", ["state_dict", "checkpoint", "module"])
def test_files_of_before_version_1_6_are_read(wrapped: str, tmp_path: Path, expected: Signature) -> None:
    content = {
        "state_dict": network().state_dict(),
        "checkpoint": trained(network().state_dict()),
        "module": network(),
    }[wrapped]
    torch.save(content, tmp_path / "m", _use_new_zipfile_serialization=False)
    assert recognise(tmp_path / "m", Limits()) is Format.LEGACY_TORCH
    assert same(opened(tmp_path / "m", architecture=None if wrapped == "module" else "lenet5"), expected)


def test_old_files_and_whole_networks_are_opened_in_the_sandbox_from_outside(
    tmp_path: Path, expected: Signature
) -> None:
    torch.save(network(), tmp_path / "m", _use_new_zipfile_serialization=False)
    classifier: Any = onepixel.load_classifier(tmp_path / "m", normalize="none")
    assert "sandbox" in classifier.assumptions[0]
    assert "read as data" in classifier.assumptions[1]
    assert same(classifier, expected)
    classifier.close()


class Doubled(nn.Module):
    """Somebody's own class, which onepixel does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, images: Tensor) -> Tensor:
        return 2 * self.inner(images)


def test_whole_network_of_ours_is_rebuilt(tmp_path: Path, expected: Signature) -> None:
    torch.save({"model": nn.DataParallel(network()), "epoch": 3}, tmp_path / "m")
    classifier = opened(tmp_path / "m")
    assert same(classifier, expected)
    assert "whole pickled LeNet5" in classifier.assumptions[0]


def test_whole_sequence_of_plain_layers_is_rebuilt_with_its_settings(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 4, 5, stride=2, padding=1, bias=False, padding_mode="reflect"),
        nn.BatchNorm2d(4, eps=0.3),
        nn.LeakyReLU(0.4),
        nn.Sequential(nn.AvgPool2d(3, 2, ceil_mode=True), nn.Dropout(0.3), nn.ELU(0.7), nn.AdaptiveAvgPool2d((3, 2))),
        nn.Flatten(),
        nn.Linear(24, 5),
        nn.Softmax(dim=1),
    ).eval()
    module[1].running_mean += 0.2
    torch.save(module, tmp_path / "m")
    classifier = opened(tmp_path / "m", input_shape=(1, 16, 16))
    images = torch.rand(3, 1, 16, 16)
    torch.testing.assert_close(classifier(images), module(images).detach())
    assert classifier.outputs == "probabilities"


def test_whole_network_of_torchvision_is_rebuilt_with_what_was_changed_in_it(tmp_path: Path) -> None:
    import torchvision

    torch.manual_seed(0)
    module = torchvision.models.resnet18(num_classes=7)
    module.maxpool = nn.Identity()
    module.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    torch.save(module, tmp_path / "m")
    classifier = opened(tmp_path / "m", input_shape=(3, 32, 32))
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(classifier(images), module.eval()(images).detach())
    assert "put into resnet18" in classifier.assumptions[0]


def test_network_of_a_hooked_or_unknown_class_asks_for_the_architecture(tmp_path: Path, expected: Signature) -> None:
    torch.save(Doubled(), tmp_path / "m")
    with pytest.raises(UsageError, match=r"class opening.test_checkpoints.Doubled.*--architecture.*shapes fit lenet5"):
        opened(tmp_path / "m")
    assert same(opened(tmp_path / "m", architecture="lenet5"), expected)
    hooked = network()
    hooked.features.register_forward_hook(print)
    torch.save(hooked, tmp_path / "h")
    with pytest.raises(UsageError, match="LeNet5"):
        opened(tmp_path / "h")


def test_same_class_with_another_activation_keeps_it(tmp_path: Path) -> None:
    module: Any = network()
    place = next(n for n, layer in enumerate(module.features) if isinstance(layer, nn.ReLU))
    module.features[place] = nn.Tanh()
    torch.save(module, tmp_path / "m")
    images = torch.rand(2, *SHAPE)
    torch.testing.assert_close(opened(tmp_path / "m")(images), module(images).detach())


def test_settings_that_claim_more_than_the_tensors_are_no_plain_layers(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    module[1].out_features = 2**20
    torch.save(module, tmp_path / "m")
    with pytest.raises(UsageError, match="no plain sequence"):
        opened(tmp_path / "m", input_shape=(1, 4, 4), outputs="logits")


def test_several_sets_of_weights_are_listed_and_one_is_picked(tmp_path: Path, expected: Signature) -> None:
    weights = network().state_dict()
    torch.save({"state_dict": zeros(weights), "ema": {"shadow": weights}}, tmp_path / "m")
    with pytest.raises(UsageError, match=r"state_dict: 10 tensors; ema.shadow: 10 tensors.*--key"):
        opened(tmp_path / "m", architecture="lenet5")
    with pytest.raises(UsageError, match=r"no weights under 'emma'.*ema.shadow"):
        opened(tmp_path / "m", architecture="lenet5", key="emma")
    assert same(opened(tmp_path / "m", architecture="lenet5", key="ema.shadow"), expected)


def test_names_that_differ_are_shown_from_both_sides_with_what_would_fit(tmp_path: Path) -> None:
    torch.save({f"layer{n}": t for n, t in enumerate(network().state_dict().values())}, tmp_path / "m")
    with pytest.raises(ModelFileError) as raised:
        opened(tmp_path / "m", architecture="resnet8")
    said = str(raised.value)
    assert "layer0 (6, 1, 5, 5)" in said
    assert "the file has" in said
    assert "resnet8 has" in said
    assert "Its shapes fit lenet5" in said
    with pytest.raises(UsageError, match="Their shapes fit lenet5"):
        opened(tmp_path / "m")


def test_what_would_fit_is_found_in_files_that_sort_their_names(tmp_path: Path) -> None:
    save_file(network().state_dict(), tmp_path / "m")
    with pytest.raises(UsageError, match="Their shapes fit lenet5"):
        opened(tmp_path / "m")


def test_networks_of_torchvision_are_known_by_its_names(tmp_path: Path) -> None:
    module = torchvision.models.resnet18(num_classes=7).eval()
    torch.save(
        {"state_dict": {f"module.{name}": tensor for name, tensor in module.state_dict().items()}}, tmp_path / "m"
    )
    classifier = opened(tmp_path / "m", architecture="resnet18", input_shape=(3, 32, 32))
    images = torch.rand(2, 3, 32, 32)
    assert torch.allclose(classifier(images), module(images), atol=1e-5)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_widths_are_read(kind: torch.dtype, tmp_path: Path) -> None:
    module = LeNet5().eval()
    weights = {name: tensor.to(kind) for name, tensor in network().state_dict().items()}
    torch.save(weights, tmp_path / "m")
    module.load_state_dict(weights)
    images = torch.rand(2, *SHAPE)
    torch.testing.assert_close(opened(tmp_path / "m", architecture="lenet5")(images), module(images).detach())


def test_timm_network_by_name_and_whole(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    module = timm.create_model("resnet10t", pretrained=False, num_classes=5).eval()
    torch.save({"state_dict": prefixed(module.state_dict(), "model.")}, tmp_path / "m")
    torch.save(module, tmp_path / "whole")
    images = torch.rand(1, 3, 64, 64)
    for name, said in (("m", {"architecture": "timm:resnet10t"}), ("whole", {})):
        classifier = opened(tmp_path / name, input_shape=(3, 64, 64), **said)
        torch.testing.assert_close(classifier(images), module(images).detach(), rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match="timm has no network 'nothing'"):
        opened(tmp_path / "m", architecture="timm:nothing")


def parts(change: Callable[[nn.Module], Any]) -> Callable[[], Weights]:
    """The weights of a network with one layer's weight kept in parts."""

    def make() -> Weights:
        module = network()
        change(module.classifier[1])
        return dict(module.state_dict())

    return make


def half_masked(layer: nn.Module) -> None:
    """Prune nothing, so that the network stays the same, but for weights that the mask hides."""
    prune.identity(layer, "weight")
    layer.weight_mask[:, ::2] = 0
    with torch.no_grad():
        layer.weight_orig[:, ::2] = 5


PARTS: dict[str, tuple[Callable[[], Weights], str]] = {
    "losses beside": (
        lambda: {**prefixed(network().state_dict(), "model."), "criterion.weight": torch.ones(10)},
        "beside it lies criterion.weight",
    ),
    "weight normalisation": (parts(nn.utils.parametrizations.weight_norm), "lengths and directions"),
    "weight normalisation of old": (parts(nn.utils.weight_norm), "lengths and directions"),
    "pruned by nothing": (parts(lambda layer: prune.identity(layer, "weight")), "masks"),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm")
@pytest.mark.parametrize("way", PARTS)
def test_weights_in_parts_and_with_company_are_those_of_the_plain_network(
    way: str, tmp_path: Path, expected: Signature
) -> None:
    make, said = PARTS[way]
    torch.save(make(), tmp_path / "m")
    classifier = opened(tmp_path / "m", architecture="lenet5")
    assert same(classifier, expected)
    assert said in " ".join(classifier.assumptions)


def test_what_a_mask_hides_is_no_part_of_the_network(tmp_path: Path) -> None:
    torch.save(parts(half_masked)(), tmp_path / "m")
    module = network()
    module.classifier[1].weight.data[:, ::2] = 0
    plain = onepixel.signature(onepixel.as_classifier(module, input_shape=SHAPE), **FEW)
    assert same(opened(tmp_path / "m", architecture="lenet5"), plain)


def test_several_networks_in_one_state_dict_are_named_and_one_is_picked(tmp_path: Path, expected: Signature) -> None:
    weights = dict(network().state_dict())
    torch.save({**prefixed(weights, "student."), **prefixed(zeros(weights), "teacher.")}, tmp_path / "m")
    with pytest.raises(UsageError, match=r"several networks that fit \(student, teacher\); say which with --key NAME"):
        opened(tmp_path / "m", architecture="lenet5")
    assert same(opened(tmp_path / "m", architecture="lenet5", key="student"), expected)


def test_layers_beside_the_network_without_a_beginning_of_their_own_are_refused(tmp_path: Path) -> None:
    torch.save({**network().state_dict(), "extra.weight": torch.ones(3)}, tmp_path / "m")
    with pytest.raises(ModelFileError, match=r"it has extra\.weight besides"):
        opened(tmp_path / "m", architecture="lenet5")


def test_arrays_of_texts_and_objects_beside_the_weights_do_no_harm(tmp_path: Path, expected: Signature) -> None:
    beside = {
        "names": np.array(["a", "b"]),
        "things": np.array([None, {}], dtype=object),
        "when": np.datetime64("2020"),
    }
    torch.save({"model": network().state_dict(), **beside}, tmp_path / "m")
    assert same(opened(tmp_path / "m", architecture="lenet5"), expected)


def test_compiled_network_is_read_from_what_compiled_it(tmp_path: Path, expected: Signature) -> None:
    torch.save(torch.compile(network()), tmp_path / "m")
    assert same(opened(tmp_path / "m"), expected)
