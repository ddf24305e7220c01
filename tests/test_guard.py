"""The guard: a population detector judges only what is like the networks that it was trained on."""

from pathlib import Path

import numpy as np
import pytest
import torch

import onepixel
from onepixel.detectors import load_detector
from onepixel.detectors.guard import Guard
from onepixel.errors import UndecidedError
from onepixel.populations import open_population, passed
from onepixel.signatures import Signature

ZOO = Path(__file__).parent.parent / "zoo"


def rows_of(name: str) -> np.ndarray:
    return passed(open_population(ZOO / name))[0]


@pytest.fixture(scope="module")
def guard() -> Guard:
    found = load_detector("mnist-lenet5").guard_
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["mnist-lenet5-virus-development-class-means", "mnist-lenet5-clean-final-class-means"])
def test_networks_of_the_detectors_own_kind_that_it_never_saw_are_familiar(guard: Guard, name: str) -> None:
    assert guard.familiar(rows_of(name)[:100]).mean() >= 0.97


def test_another_architecture_is_foreign() -> None:
    """From class means with 8 values, of which the zoo holds several architectures; VGG-10 is the likest to LeNet-5."""
    own = np.concatenate([rows_of(f"mnist-lenet5-{role}-class-means-8")[:150] for role in ("clean", "vaccine")])
    guard = Guard.fit(own)
    assert guard is not None
    assert guard.familiar(rows_of("mnist-resnet8-clean-class-means-8")).mean() <= 0.05
    assert guard.familiar(rows_of("mnist-lenet5-virus-development-class-means-8")).mean() >= 0.95


def test_another_data_set_is_foreign(guard: Guard) -> None:
    assert not guard.familiar(rows_of("fashion-lenet5-clean-class-means")).any()


def test_detector_refuses_what_is_foreign_with_a_sentence_that_says_what_to_do() -> None:
    row = rows_of("fashion-lenet5-clean-class-means")[0]
    detector = load_detector("mnist-lenet5")
    foreign = Signature(row["low"], row["high"], row["base"], detector.settings_, classifier="odd.onnx")
    with pytest.raises(UndecidedError, match=r"^odd\.onnx: could not decide: not like the networks"):
        detector.judge(foreign)


def test_network_whose_answers_hardly_change_is_refused(guard: Guard) -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    module[1].weight.data /= 255  # as if it expected intensities up to 255
    classifier = onepixel.as_classifier(module, input_shape=(1, 28, 28))
    with pytest.raises(UndecidedError, match="hardly change with the image"):
        load_detector("mnist-lenet5-black").audit(classifier)


def test_untrained_linear_layer_is_refused() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    with pytest.raises(UndecidedError, match="could not decide"):
        load_detector("mnist-lenet5").audit(onepixel.as_classifier(module, input_shape=(1, 28, 28)))


def test_too_few_networks_make_no_guard_and_files_without_one_are_read() -> None:
    assert Guard.fit(rows_of("fashion-lenet5-clean-class-means")[:20]) is None
    assert Guard.from_arrays({}) is None


def test_guard_is_the_same_after_saving(guard: Guard) -> None:
    again = Guard.from_arrays(guard.arrays())
    assert again is not None
    rows = rows_of("mnist-lenet5-virus-development-class-means")[:10]
    assert np.allclose(again.distances(rows), guard.distances(rows), rtol=1e-4)
