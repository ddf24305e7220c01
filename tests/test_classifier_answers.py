"""The classifier adapters, and every way in which a classifier's answers can be unusable."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor, nn

import onepixel
from examples import linear_classifier
from onepixel.classifiers import EstimatorClassifier, logits_to_log_odds, to_log_odds
from onepixel.classifiers.module import full_precision
from onepixel.errors import AnswerError, InputShapeError, NondeterminismError, OutputKindError, UsageError

SHAPE = (1, 4, 4)
Images = NDArray[np.float32]


def uniform(images: Images, classes: int = 3) -> Images:
    return np.full((len(images), classes), 1 / classes, dtype=np.float32)


class Tuple(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images.flatten(1), images.flatten(1)


class Drifting:
    """Answers that move a little with every call."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, images: Images) -> Images:
        self.calls += 1
        first = np.full((len(images), 1), 0.2 + 0.01 * self.calls, dtype=np.float32)
        return np.hstack([first, 1 - first])


def depends_on_batch(images: Images) -> Images:
    first = np.full((len(images), 1), 1 / (1 + len(images)), dtype=np.float32)
    return np.hstack([first, 1 - first])


def fails(images: Images) -> Images:
    raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


def last_is_nan(images: Images) -> Images:
    answers = uniform(images)
    answers[-1] = np.nan
    return answers


BAD_ANSWERS: list[tuple[Callable[[Images], object], str, type[Exception], str]] = [
    (last_is_nan, "probabilities", AnswerError, "NaN or infinity"),
    (lambda images: np.full((len(images), 2), np.inf), "logits", AnswerError, "NaN or infinity"),
    (lambda images: uniform(images)[0], "probabilities", AnswerError, r"shape \(3,\), not \(4, K\)"),
    (lambda images: uniform(images)[:-1], "probabilities", AnswerError, r"shape \(3, 3\), not \(4, K\)"),
    (lambda images: uniform(images)[:, :, None], "probabilities", AnswerError, r"\(4, 3, 1\)"),
    (lambda images: uniform(images, 1), "probabilities", AnswerError, "at least two classes; this one answers 1"),
    (lambda images: uniform(images)[:, :0], "logits", AnswerError, "at least two classes; this one answers 0"),
    (lambda images: uniform(images) * 5, "probabilities", OutputKindError, 'outputs="logits"'),
    (lambda images: uniform(images) - 1, "probabilities", OutputKindError, 'outputs="logits"'),
    (uniform, "logits", OutputKindError, 'outputs="probabilities"'),
    (Drifting(), "probabilities", NondeterminismError, "same image differently"),
    (depends_on_batch, "probabilities", NondeterminismError, "same image differently"),
    (fails, "probabilities", InputShapeError, r"does not accept images of shape \(4, 1, 4, 4\): mat1"),
]


@pytest.mark.parametrize(("function", "outputs", "error", "message"), BAD_ANSWERS)
def test_bad_answer_is_its_own_error_with_exit_status_three(
    function: Callable[[Images], object], outputs: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        onepixel.as_classifier(function, input_shape=SHAPE, outputs=outputs)  # type: ignore[arg-type]
    assert type(raised.value) is error
    assert raised.value.exit_status == 3  # type: ignore[attr-defined]
    assert "\n" not in str(raised.value)


def test_module_that_answers_a_tuple_says_so() -> None:
    with pytest.raises(AnswerError, match="Tuple answers with a tuple, not with one tensor"):
        onepixel.as_classifier(Tuple(), input_shape=SHAPE)


def test_module_that_wants_other_images_says_so() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(9, 3))
    with pytest.raises(InputShapeError, match=r"\(4, 1, 4, 4\)"):
        onepixel.as_classifier(module, input_shape=SHAPE)


def test_module_with_dropout_is_asked_in_eval_mode_and_left_in_training_mode() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 3))
    module[1].eval()
    module[2].train()
    classifier = onepixel.as_classifier(module, input_shape=SHAPE)
    images = torch.rand(8, *SHAPE)
    assert torch.equal(classifier(images), classifier(images))
    assert [part.training for part in module] == [True, False, True]


def test_normalize_is_what_the_module_sees() -> None:
    module = nn.Flatten()
    classifier = onepixel.as_classifier(module, input_shape=(3, 2, 2), normalize=((0.1, 0.2, 0.3), (0.5, 1.0, 2.0)))
    images = torch.rand(4, 3, 2, 2)
    expected = (images - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([0.5, 1.0, 2.0]).view(3, 1, 1)
    torch.testing.assert_close(classifier(images), expected.flatten(1))


@pytest.mark.parametrize(
    ("normalize", "message"),
    [(((0.5, 0.5), (1.0,)), "needs 1 or 3 numbers"), (((0.5,), (0.0,)), "standard deviations above 0")],
)
def test_normalize_that_does_not_fit_is_refused(normalize: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        onepixel.as_classifier(nn.Flatten(), input_shape=(3, 2, 2), normalize=normalize)  # type: ignore[arg-type]


def test_normalize_is_for_modules_only() -> None:
    with pytest.raises(UsageError, match="torch modules only"):
        onepixel.as_classifier(uniform, input_shape=SHAPE, normalize=((0.5,), (0.5,)))


@pytest.mark.parametrize(("given_shape"), [(4, 4), (1, 0, 4), (1, 4, -4)])
def test_input_shape_that_makes_no_sense_is_refused(given_shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"input shape \(C, H, W\) of positive sizes"):
        onepixel.as_classifier(uniform, input_shape=given_shape)  # type: ignore[arg-type]


def test_other_kinds_of_outputs_are_refused() -> None:
    with pytest.raises(UsageError, match="'scores'"):
        onepixel.as_classifier(uniform, input_shape=SHAPE, outputs="scores")  # type: ignore[arg-type]


def test_what_is_no_model_at_all_is_refused() -> None:
    with pytest.raises(UsageError, match="torch module, an estimator or a callable but got str"):
        onepixel.as_classifier("model.onnx", input_shape=SHAPE)


def test_estimator_without_probabilities_is_refused_with_a_way_out() -> None:
    with pytest.raises(UsageError, match="CalibratedClassifierCV"):
        EstimatorClassifier(SVC(), SHAPE)


def test_estimator_sees_flattened_scaled_images_and_answers_probabilities() -> None:
    random = np.random.default_rng(0)
    flat = random.random((60, 16)).astype(np.float32)
    tree = DecisionTreeClassifier(max_depth=3, random_state=0).fit(flat * 16, flat[:, 5] > 0.5)
    images = torch.as_tensor(flat.reshape(60, *SHAPE))
    scaled = EstimatorClassifier(tree, SHAPE, scale=16.0)
    assert scaled.classes == 2
    np.testing.assert_array_equal(scaled(images).numpy(), tree.predict_proba(flat * np.float32(16)))


def test_estimator_never_answers_logits() -> None:
    tree = DecisionTreeClassifier().fit(np.eye(16), np.arange(16) % 2)
    with pytest.raises(UsageError, match="answers probabilities, not logits"):
        onepixel.as_classifier(tree, input_shape=SHAPE, outputs="logits")


def test_classifier_takes_device_and_floating_type_from_the_module() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).double()
    classifier = onepixel.as_classifier(module, input_shape=SHAPE)
    assert (classifier.device.type, classifier.dtype) == ("cpu", torch.float64)
    assert onepixel.signature(classifier, values=3).high.dtype == np.float64


def test_logits_that_happen_to_look_like_one_distribution_in_no_row_pass() -> None:
    assert linear_classifier(SHAPE).classes == 3


@given(arrays(np.float64, (3, 4), elements=st.floats(-600, 600)))
def test_log_odds_of_logits_are_exact_where_probabilities_saturate(logits: NDArray[np.float64]) -> None:
    odds = logits_to_log_odds(torch.as_tensor(logits)).numpy()
    for row, found in zip(logits, odds, strict=True):
        for k in range(4):
            others = np.delete(row, k)
            expected = row[k] - (others.max() + np.log(np.exp(others - others.max()).sum()))
            assert abs(found[k] - expected) <= 1e-12 * max(1, abs(expected))


def test_log_odds_of_probabilities_are_kept_inside_the_floor() -> None:
    odds = to_log_odds(torch.tensor([[0.0, 1.0], [1e-9, 1 - 1e-9]]), "probabilities")
    bound = np.log(1e-7) - np.log1p(-1e-7)
    np.testing.assert_allclose(odds.numpy(), [[bound, -bound]] * 2, rtol=1e-9)


@pytest.fixture
def rounding_places():
    """Where torch keeps whether a GPU may round to TF32; allowed everywhere, and back to what it was afterwards."""
    places = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = True
    yield places
    for place, allowed in zip(places, before, strict=True):
        place.allow_tf32 = allowed


@pytest.mark.parametrize(("device", "meanwhile"), [("cuda", False), ("cpu", True)])
def test_a_gpu_does_not_round_to_tf32_while_a_classifier_answers(rounding_places, device, meanwhile):
    places = rounding_places
    with full_precision(torch.device(device)):
        assert [place.allow_tf32 for place in places] == [meanwhile, meanwhile]
    assert [place.allow_tf32 for place in places] == [True, True]
