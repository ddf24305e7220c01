"""The incremental engine against the definition: the same extremes at every pixel, borders included."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import onepixel
from onepixel.architectures import architecture
from onepixel.errors import ExactnessError, OnepixelError, OutputKindError, UsageError
from onepixel.signatures import Signature
from onepixel.signatures.incremental import engine, execution
from onepixel.signatures.incremental.nonlinear_steps import Nonlinear
from random_networks import networks


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def both(classifier: onepixel.Classifier, **settings: object) -> tuple[Signature, Signature]:
    """The same signature by the incremental and by the exhaustive engine."""
    fast = onepixel.signature(classifier, engine="incremental", **settings)
    assert fast.engine == "incremental"
    return fast, onepixel.signature(classifier, engine="exhaustive", **settings)


def largest_difference(one: Signature, other: Signature) -> float:
    """In log-odds, over low, high and base."""
    return max(float(np.nanmax(np.abs(getattr(one, name) - getattr(other, name)))) for name in ("low", "high", "base"))


def some_pixels(height: int, width: int) -> np.ndarray:
    """Corners, edges and the inside."""
    mask = np.zeros((height, width), dtype=bool)
    for row, column in ((0, 0), (0, width // 2), (height // 2, width - 1), (height // 2, width // 2 + 1), (-1, -1)):
        mask[row, column] = True
    return mask


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_incremental_engine_equals_the_definition_on_random_networks(data: st.DataObject) -> None:
    module, shape = data.draw(networks())
    normalize = data.draw(st.sampled_from([None, ([0.4], [0.3])]))
    kind = data.draw(st.sampled_from(["black", "grey", "noise", "edge"]))
    default_image: float | np.ndarray = {"black": 0.0, "grey": 0.4}.get(kind, 0.0)
    if kind in ("noise", "edge"):
        default_image = np.random.default_rng(0).random(shape).astype(np.float32)
    if kind == "edge":
        default_image = np.broadcast_to(np.arange(shape[2]) > shape[2] // 2, shape).astype(np.float32)
    try:
        classifier = onepixel.as_classifier(module, input_shape=shape, normalize=normalize)
    except OutputKindError:
        assume(False)
    pixels = data.draw(st.sampled_from([None, None, 2, "mask"]))
    with pytest.MonkeyPatch.context() as patch:
        # Batches and turns of any size give the same signature.
        patch.setattr(execution, "BATCH_BYTES", data.draw(st.sampled_from([1, 20_000, 2**21])))
        patch.setattr(engine, "STEP_BYTES", data.draw(st.sampled_from([1, 2**26])))
        chosen = some_pixels(*shape[1:]) if pixels == "mask" else pixels
        fast, slow = both(classifier, values=3, inclusive=True, default_image=default_image, pixels=chosen)
    np.testing.assert_array_equal(fast.visited, slow.visited)
    assert largest_difference(fast, slow) <= 1e-9


@pytest.mark.parametrize("name", ["lenet5", "alexnet", "vgg10", "resnet8", "six_plus_two", "digits_cnn"])
@pytest.mark.parametrize("default_image", ["black", "noise"])
def test_incremental_engine_equals_the_definition_on_the_networks_of_the_papers(name: str, default_image: str) -> None:
    torch.manual_seed(0)
    chosen = architecture(name)
    image = 0.0 if default_image == "black" else np.random.default_rng(0).random(chosen.input_shape)
    classifier = onepixel.as_classifier(chosen.build(10).double(), input_shape=chosen.input_shape)
    mask = some_pixels(*chosen.input_shape[1:])
    assert largest_difference(*both(classifier, values=3, default_image=image, pixels=mask)) <= 1e-9


@pytest.mark.parametrize("name", ["lenet5", "resnet8", "digits_cnn"])
@pytest.mark.parametrize("threads", [1, 2])
def test_several_default_images_in_one_pass_equal_the_definition_from_each(name: str, threads: int) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    chosen = architecture(name)
    classifier = onepixel.as_classifier(chosen.build(10).double(), input_shape=chosen.input_shape)
    images = np.random.default_rng(0).random((3, *chosen.input_shape)).astype(np.float32)
    images[1] = 0.0
    mask = some_pixels(*chosen.input_shape[1:])
    settings = {"values": 3, "inclusive": True, "default_image": images, "pixels": mask}
    fast, slow = both(classifier, **settings)
    assert largest_difference(fast, slow) <= 1e-9
    assert onepixel.signature(classifier, **settings).note.startswith("incremental")
    alone = [onepixel.signature(classifier, **{**settings, "default_image": image}) for image in images]
    assert fast.queries == sum(one.queries for one in alone)


@pytest.mark.parametrize("name", ["lenet5", "resnet8"])
def test_incremental_engine_is_as_exact_as_float32_allows(name: str) -> None:
    torch.manual_seed(0)
    chosen = architecture(name)
    classifier = onepixel.as_classifier(chosen.build(10), input_shape=chosen.input_shape)
    settings = {"values": 32, "pixels": 5}
    fast, slow = both(classifier, **settings)
    alone = onepixel.signature(classifier, engine="exhaustive", batch_size=1, **settings)
    for definition in ("max", "largest_change"):
        assert np.nanmax(np.abs(fast.values(definition) - slow.values(definition))) <= 1e-6
    spread = largest_difference(slow, alone)
    assert largest_difference(fast, slow) <= 4 * max(spread, float(np.spacing(np.abs(slow.base).max())))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["resnet50", "resnext50_32x4d", "densenet121", "mobilenet_v2", "mobilenet_v3_small", "vgg16"]
)
def test_torchvision_networks_go_through_the_incremental_engine_and_are_exact(name: str) -> None:
    torch.manual_seed(0)
    module = torchvision.models.get_model(name, weights=None, num_classes=4)
    with_signal(module)
    classifier = onepixel.as_classifier(
        module.double(), input_shape=(3, 32, 32), normalize=((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    mask = np.zeros((32, 32), dtype=bool)
    mask[0, 0] = mask[13, 18] = mask[31, 12] = True
    fast, slow = both(classifier, values=2, inclusive=True, default_image=0.5, pixels=mask)
    assert largest_difference(fast, slow) <= 1e-9
    assert np.nanmax(slow.high - slow.low) > 1e-4, "the test would show nothing on a network that ignores its pixels"


def with_signal(module: nn.Module) -> None:
    """Set batch norm's statistics as training would, so that random weights do not fade out."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
    module.train()
    with torch.no_grad():
        module(torch.randn(8, 3, 32, 32))
    module.eval()


class Branching(nn.Module):
    """Takes another way for bright images."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        return self.dense(flat) if images.mean() > 0.5 else self.dense(-flat)


def reflecting() -> nn.Module:
    """Padding without a rule."""
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect"), nn.Flatten(), nn.Linear(32, 3))


@pytest.mark.parametrize("build", [Branching, reflecting])
def test_auto_leaves_what_cannot_be_proven_to_the_exhaustive_engine_and_says_why(build: type[nn.Module]) -> None:
    torch.manual_seed(0)
    # The two branches agree on every image that the check at the door asks together.
    module = build()
    if isinstance(module, Branching):
        nn.init.zeros_(module.dense.weight)
    classifier = onepixel.as_classifier(module, input_shape=(1, 4, 4))
    found = onepixel.signature(classifier, values=4)
    assert found.engine == "exhaustive"
    assert "cannot run this module" in found.note
    with pytest.raises(UsageError, match="incremental engine cannot run"):
        onepixel.signature(classifier, values=4, engine="incremental")


def test_auto_takes_the_incremental_engine_where_windows_are_small() -> None:
    classifier = onepixel.as_classifier(architecture("lenet5").build(10), input_shape=(1, 28, 28))
    found = onepixel.signature(classifier, values=2, pixels=9)
    assert found.engine == "incremental"
    assert "of a full forward pass" in found.note


def test_auto_takes_the_exhaustive_engine_for_callables_and_dense_networks() -> None:
    dense = nn.Sequential(nn.Flatten(), nn.Linear(9, 20), nn.ReLU(), nn.Linear(20, 3))
    uniform = onepixel.as_classifier(lambda images: np.full((len(images), 2), 0.5), input_shape=(1, 3, 3))
    for classifier in (uniform, onepixel.as_classifier(nn.Sequential(dense), input_shape=(1, 3, 3))):
        found = onepixel.signature(classifier, values=2)
        assert found.note.startswith(found.engine)


def test_wrong_rule_is_an_error_that_names_the_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    right = Nonlinear.run
    monkeypatch.setattr(Nonlinear, "run", lambda self, maps, spots: right(self, maps, spots) + 0.1)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(16, 3))
    classifier = onepixel.as_classifier(module, input_shape=(1, 6, 6))
    with pytest.raises(ExactnessError, match=r"the first layer that differs is tanh after 1\."):
        onepixel.signature(classifier, values=4, engine="incremental")


def test_module_in_training_mode_is_evaluated_and_left_in_training_mode() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(27, 3)
    ).double()
    module.train()
    classifier = onepixel.as_classifier(module, input_shape=(1, 5, 5))
    assert largest_difference(*both(classifier, values=3)) <= 1e-9
    assert all(part.training for part in module.modules())


def test_batch_norm_without_fixed_statistics_is_refused() -> None:
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.InstanceNorm2d(3), nn.Flatten(), nn.Linear(27, 3))
    classifier = onepixel.as_classifier(module, input_shape=(1, 5, 5))
    with pytest.raises(OnepixelError, match="cannot run"):
        onepixel.signature(classifier, values=2, engine="incremental")


def test_softmax_inside_the_module_gives_probabilities() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3), nn.Softmax(1))
    classifier = onepixel.as_classifier(module.double(), input_shape=(3, 4, 4), outputs="probabilities")
    assert largest_difference(*both(classifier, values=5, default_image=0.3)) <= 1e-9


def test_two_threads_give_the_same_bytes_every_time() -> None:
    torch.manual_seed(0)
    classifier = onepixel.as_classifier(architecture("digits_cnn").build(10), input_shape=(1, 8, 8))
    torch.set_num_threads(2)
    first, second = (onepixel.signature(classifier, values=16, engine="incremental") for _ in range(2))
    assert torch.get_num_threads() == 2
    assert first.low.tobytes() == second.low.tobytes()
    assert first.high.tobytes() == second.high.tobytes()


def test_cost_is_said_before_a_run_that_shows_progress(capsys: pytest.CaptureFixture[str]) -> None:
    classifier = onepixel.as_classifier(architecture("digits_cnn").build(10), input_shape=(1, 8, 8))
    onepixel.signature(classifier, values=2, progress=True)
    assert "forward passes" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_resnet50_at_224_stays_under_four_gibibytes() -> None:
    script = """
        import resource, numpy as np, torch, torchvision, onepixel
        torch.set_num_threads(1)
        classifier = onepixel.as_classifier(torchvision.models.resnet50(weights=None), input_shape=(3, 224, 224))
        strip = np.zeros((224, 224), dtype=bool)
        strip[100, 110:112] = True
        found = onepixel.signature(classifier, values=24, pixels=strip, engine="incremental")
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True, env=source_path()
    )
    assert int(done.stdout) < 4 * 2**20


def source_path() -> dict[str, str]:
    """The environment in which a fresh interpreter finds what this one does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
