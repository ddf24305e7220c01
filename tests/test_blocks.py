"""Blocks of pixels on several images: the incremental engine gives what full forward passes give."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import onepixel
from onepixel.classifiers import to_log_odds
from onepixel.errors import ExactnessError
from onepixel.reaches import Patch, SampleImages, composed, reach
from onepixel.reaches.composed import blocks, pixel_values
from onepixel.signatures.incremental import NotIncrementalError, block_log_odds, whole_passes
from onepixel.signatures.incremental import blocks as engine
from random_networks import networks


def by_asking(classifier: onepixel.Classifier, images: Tensor, places: np.ndarray, values: Tensor) -> Tensor:
    """The same table, one changed image at a time."""
    table = []
    for image in images:
        for top, left, tall, wide in places.tolist():
            for value in values:
                changed = image.clone()
                changed[:, top : top + tall, left : left + wide] = value[:, None, None]
                table.append(changed)
    odds = to_log_odds(classifier(torch.stack(table).to(classifier.dtype)), classifier.outputs)
    return odds.view(len(images), len(places), len(values), -1)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(data=st.data(), side=st.integers(1, 5), count=st.integers(1, 3), seed=st.integers(0, 100))
def test_blocks_are_computed_as_full_forward_passes_would(
    data: st.DataObject, side: int, count: int, seed: int
) -> None:
    module, shape = data.draw(networks())
    normalize = data.draw(st.sampled_from([None, ([0.4], [0.3])]))
    classifier = onepixel.as_classifier(module, input_shape=shape, normalize=normalize)
    images = torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))
    images[0, :, : shape[1] // 2] = 0  # a part without structure, whose blocks share work
    places, values = blocks(shape[1], shape[2], side), pixel_values(shape[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "WORTHWHILE", float("inf"))
        try:
            found = block_log_odds(classifier, images, places, values)
        except NotIncrementalError:
            assume(False)
    expected = by_asking(classifier, images, places, values)
    assert torch.allclose(found, expected.float(), atol=1e-3, rtol=1e-3)


class Small(nn.Sequential):
    """Two convolutions and a mean; a block of two pixels reaches a part of the maps."""

    def __init__(self) -> None:
        torch.manual_seed(3)
        super().__init__(
            nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.Tanh(),
            nn.Flatten(), nn.Linear(8 * 6 * 6, 4),
        )  # fmt: skip
        self[6].weight.data *= 9


def samples() -> SampleImages:
    images = np.random.default_rng(0).random((16, 1, 16, 16), dtype=np.float32)
    images[:, :, :, 10:] = 0
    return SampleImages(images, np.repeat(np.arange(4), 4))


def test_composed_search_is_the_same_by_either_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = onepixel.as_classifier(Small().eval(), input_shape=(1, 16, 16))
    calls: list[int] = []

    def counting(*arguments: object) -> Tensor:
        calls.append(1)
        return block_log_odds(*arguments)

    monkeypatch.setattr(composed, "block_log_odds", counting)
    monkeypatch.setattr(engine, "WORTHWHILE", 1.0)
    fast = reach(classifier, samples(), family=Patch(3), search="composed")
    assert calls

    def refuse(*arguments: object) -> Tensor:
        raise NotIncrementalError("no")

    monkeypatch.setattr(composed, "block_log_odds", refuse)
    slow = reach(classifier, samples(), family=Patch(3), search="composed")
    assert np.array_equal(fast.place, slow.place)
    assert np.array_equal(fast.fillings, slow.fillings)
    assert fast.log_odds == pytest.approx(slow.log_odds, abs=1e-4)
    # Where the engine gives up, what it may have sent through the network counts: two images of four classes were seen.
    assert slow.queries == fast.queries + whole_passes(8)


def test_wrong_answers_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = onepixel.as_classifier(Small().eval(), input_shape=(1, 16, 16))
    images, places = torch.as_tensor(samples().images[:2]), blocks(16, 16, 2)
    right = engine.block_changes
    monkeypatch.setattr(engine, "WORTHWHILE", 1.0)
    monkeypatch.setattr(engine, "block_changes", lambda *arguments: 2 * right(*arguments))
    with pytest.raises(ExactnessError, match="disagrees"):
        block_log_odds(classifier, images, places, pixel_values(1))


def test_module_whose_windows_are_the_whole_image_is_asked_instead() -> None:
    dense = nn.Sequential(nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 4))
    classifier = onepixel.as_classifier(dense, input_shape=(1, 16, 16))
    with pytest.raises(NotIncrementalError, match="of a full forward pass"):
        block_log_odds(classifier, torch.rand(1, 1, 16, 16), blocks(16, 16, 8), pixel_values(1))


def test_colour_blocks_of_one_image_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 1024, 4)).eval()
    classifier = onepixel.as_classifier(module, input_shape=(3, 32, 32))
    images, places, values = torch.rand(1, 3, 32, 32), blocks(32, 32, 3)[:1], pixel_values(3)
    monkeypatch.setattr(engine, "WORTHWHILE", float("inf"))
    with torch.inference_mode():
        found = block_log_odds(classifier, images, places, values)
    assert torch.allclose(found, by_asking(classifier, images, places, values), atol=1e-4)
