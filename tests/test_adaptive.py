"""The adaptive engine: what it costs, what it misses, and whether what it says about that is true."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import binom
from sklearn.datasets import load_digits

import onepixel
import onepixel.architectures
from examples import Counting, a_few_pixels, default_image, example, linear_classifier
from onepixel import Signature
from onepixel.classifiers import Classifier
from onepixel.errors import BudgetError
from onepixel.signatures import adaptive as engine
from onepixel.signatures.adaptive import CHECK_TOLERANCE, coarse_values, upper_bound

Images = NDArray[np.float32]


@pytest.fixture(scope="module")
def digits_classifier() -> Classifier:
    """A small network that has learnt scikit-learn's digits."""
    digits = load_digits()
    images = torch.as_tensor(digits.images[:, None] / 16, dtype=torch.float32)
    labels = torch.as_tensor(digits.target)
    torch.manual_seed(0)
    module = onepixel.architectures.architecture("digits_cnn").build(10)
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    for _ in range(6):
        for batch in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(module(images[batch]), labels[batch]).backward()
            optimizer.step()
    return onepixel.as_classifier(module, input_shape=(1, 8, 8))


def response(curve: Callable[[NDArray[np.float64]], NDArray[np.float64]], shape: tuple[int, int, int]) -> Classifier:
    """Two classes; the probability of class 0 is a curve of the brightest pixel's value."""

    def answer(images: Images) -> NDArray[np.float64]:
        first = curve(images.reshape(len(images), -1).max(axis=1).astype(np.float64))
        return np.stack([first, 1 - first], axis=1)

    return onepixel.as_classifier(answer, input_shape=shape)


def errors(found: Signature, exact: Signature) -> NDArray[np.floating]:
    """How far low and high are off, in probability, per class and pixel."""
    return np.maximum(np.abs(expit(found.low) - expit(exact.low)), np.abs(expit(found.high) - expit(exact.high)))


@pytest.mark.parametrize("kind", ["black", "noise"])
def test_trained_network_costs_few_queries_and_misses_next_to_nothing(digits_classifier: Classifier, kind: str) -> None:
    image = default_image(kind, (1, 8, 8))
    exact = onepixel.signature(digits_classifier, default_image=image, engine="exhaustive")
    found = onepixel.signature(digits_classifier, default_image=image, engine="adaptive")
    assert (found.queries - engine.CHECKS) / 64 <= 24
    assert errors(found, exact).max() <= 1e-3
    assert errors(found, exact).mean() <= 1e-5


def test_extremes_are_answers_and_so_never_overstated(digits_classifier: Classifier) -> None:
    exact = onepixel.signature(digits_classifier, pixels=2, engine="exhaustive", batch_size=64)
    found = onepixel.signature(digits_classifier, pixels=2, engine="adaptive", batch_size=64)
    seen = exact.visited
    assert (found.high[:, seen] <= exact.high[:, seen] + 1e-4).all()
    assert (found.low[:, seen] >= exact.low[:, seen] - 1e-4).all()


@pytest.mark.parametrize("kind", ["black", "white", "noise", "grey"])
@pytest.mark.parametrize("name", ["digits_cnn", "tree"])
def test_no_image_is_asked_twice(name: str, kind: str) -> None:
    counting = Counting(example(name))
    # 0.5 lies on the grid in the middle of a gap, 0 and (on the inclusive grid) 1 at its ends.
    image = 0.5 if kind == "grey" else default_image(kind, (1, 8, 8))
    found = onepixel.signature(
        counting, values=65, inclusive=True, default_image=image, engine="adaptive", batch_size=50
    )
    assert len(set(counting.images)) == len(counting.images) == sum(counting.calls) == found.queries
    assert max(counting.calls) <= 50


def test_no_image_is_asked_twice_when_pixels_are_worked_on_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = onepixel.signature(example("digits_cnn"), values=64, engine="adaptive")
    monkeypatch.setattr(engine, "WORK_NUMBERS", 64 * 4 * 7)
    counting = Counting(example("digits_cnn"))
    in_turns = onepixel.signature(counting, values=64, engine="adaptive")
    assert len(set(counting.images)) == len(counting.images) == in_turns.queries == whole.queries
    np.testing.assert_allclose(in_turns.high, whole.high, rtol=0, atol=1e-9)


@pytest.mark.parametrize("values", [2, 3, 9])
def test_small_grid_is_asked_whole_and_then_nothing_is_left_to_estimate(values: int) -> None:
    mask = a_few_pixels((1, 8, 8))
    exact = onepixel.signature(example("digits_cnn"), values=values, pixels=mask, engine="exhaustive")
    found = onepixel.signature(example("digits_cnn"), values=values, pixels=mask, engine="adaptive")
    np.testing.assert_allclose(found.high, exact.high, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.low, exact.low, rtol=0, atol=1e-9)
    assert found.queries == 6 * (values - 1) + 1
    assert found.details["error_estimate"]["cells_at_most"] == 0


def test_checks_may_ask_everything_that_is_left_and_then_the_signature_is_exact() -> None:
    mask = a_few_pixels((1, 8, 8))
    exact = onepixel.signature(example("digits_cnn"), values=64, pixels=mask, engine="exhaustive")
    counting = Counting(example("digits_cnn"))
    found = onepixel.signature(counting, values=64, pixels=mask, engine="adaptive")
    np.testing.assert_allclose(found.high, exact.high, rtol=0, atol=1e-9)
    assert found.queries == len(set(counting.images)) == 6 * 63 + 1
    assert found.details["error_estimate"]["cells_at_most"] == 0


def test_coarse_values_hold_both_ends() -> None:
    for values in (2, 5, 9, 10, 256):
        asked = coarse_values(values)
        assert asked[0]
        assert asked[-1]
        assert int(asked.sum()) == min(engine.COARSE_VALUES, values)


def test_budget_that_cannot_suffice_is_refused_before_anything_is_asked() -> None:
    counting = Counting(example("digits_cnn"))
    with pytest.raises(BudgetError, match="budget is 900") as raised:
        onepixel.signature(counting, budget=900, engine="adaptive")
    assert raised.value.exit_status == 3
    assert counting.calls == []


def test_budget_is_never_exceeded_whatever_it_is() -> None:
    needed = onepixel.signature(example("digits_cnn"), values=128, engine="adaptive").queries
    least = 1 + 64 * (engine.COARSE_VALUES - 1) + engine.CHECKS
    assert needed > least + 10
    for budget in np.linspace(least, needed - 1, 7).astype(int):
        counting = Counting(example("digits_cnn"))
        with pytest.raises(BudgetError, match=f"the budget of {budget:,}"):
            onepixel.signature(counting, values=128, budget=int(budget), engine="adaptive")
        assert 0 < sum(counting.calls) <= budget
    counting = Counting(example("digits_cnn"))
    assert onepixel.signature(counting, values=128, budget=needed, engine="adaptive").queries == needed
    assert sum(counting.calls) == needed


def test_same_classifier_gets_the_same_signature_twice() -> None:
    one, two = (onepixel.signature(example("digits_cnn"), engine="adaptive", pixels=2) for _ in range(2))
    np.testing.assert_array_equal(one.high, two.high)
    assert one.details == two.details


def test_monotone_responses_cost_the_coarse_values_and_the_checks_alone() -> None:
    found = onepixel.signature(linear_classifier((1, 6, 6), classes=2), engine="adaptive")
    assert found.queries == 1 + 36 * (engine.COARSE_VALUES - 1) + engine.CHECKS


def test_constant_certain_answers_cost_the_coarse_values_and_the_checks_alone() -> None:
    def certain(images: Images) -> Images:
        return np.eye(10, dtype=np.float32)[np.zeros(len(images), dtype=int)]

    found = onepixel.signature(onepixel.as_classifier(certain, input_shape=(1, 6, 6)), engine="adaptive")
    assert found.queries == 1 + 36 * (engine.COARSE_VALUES - 1) + engine.CHECKS


def test_smooth_bump_between_coarse_values_is_found() -> None:
    classifier = response(lambda v: 0.1 + 0.8 * np.exp(-(((v - 0.56) / 0.1) ** 2)), (1, 6, 6))
    exact = onepixel.signature(classifier, engine="exhaustive")
    found = onepixel.signature(classifier, engine="adaptive")
    assert errors(found, exact).max() <= 1e-3


def narrow_spike(v: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.abs(v - 100 / 256) < 1e-4, 0.9, 0.1)


def test_narrow_spike_is_missed_where_no_check_hits_it_and_the_statement_allows_for_it() -> None:
    classifier = response(narrow_spike, (1, 12, 12))
    found = onepixel.signature(classifier, engine="adaptive")
    missed = float((found.values("max")[0] < 0.5).mean())
    assert missed > 0.5
    # One value in 256 moves, at every pixel.
    assert found.details["error_estimate"]["cells_at_most"] >= 1 / 256


def test_check_that_hits_a_spike_moves_the_extreme_there() -> None:
    found = onepixel.signature(response(narrow_spike, (1, 12, 12)), engine="adaptive")
    hits = int((found.values("max")[0] > 0.5).sum())
    assert hits == found.details["error_estimate"]["moved"] > 0
    assert found.details["error_estimate"]["largest_move"] == pytest.approx(0.8)


def test_statement_says_in_words_what_the_numbers_say() -> None:
    found = onepixel.signature(example("digits_cnn"), engine="adaptive")
    estimate = found.details["error_estimate"]
    share = f"{100 * estimate['cells_at_most']:.2g}"
    expected = f"with 95 % confidence at most {share} % of the cells move by more than 0.001 in probability"
    assert found.note == estimate["statement"] == expected


@pytest.mark.parametrize(("moved", "checks", "bound"), [(0, 59, 0.0495), (1, 93, 0.0500), (5, 5, 1.0)])
def test_upper_bound_is_clopper_and_pearsons(moved: int, checks: int, bound: float) -> None:
    assert upper_bound(moved, checks) == pytest.approx(bound, abs=1e-4)
    if moved < checks:
        assert binom.cdf(moved, checks, upper_bound(moved, checks)) == pytest.approx(0.05)


@pytest.mark.slow
def test_statement_holds_at_its_rate_over_many_random_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CHECKS", 100)
    functions, values, side = 300, 64, 6
    wrong, wrong_if_taken_at_face_value = 0, 0
    for seed in range(functions):
        random = np.random.default_rng(seed)
        density = random.uniform(0.002, 0.08)
        table = np.where(random.random((side * side, values)) < density, 0.9, 0.5)
        asked: list[NDArray[np.int64]] = []

        def answer(images: Images, table: NDArray[np.float64] = table, asked: list = asked) -> NDArray[np.float64]:
            flat = images.reshape(len(images), -1)
            pixel, value = flat.argmax(axis=1), np.rint(flat.max(axis=1) * values).astype(int)
            asked.append(np.stack([pixel, value], axis=1))
            first = table[pixel, value.clip(0, values - 1)]
            first[value == 0] = 0.5
            return np.stack([first, 1 - first], axis=1)

        table[:, 0] = 0.5
        classifier = onepixel.as_classifier(answer, input_shape=(1, side, side))
        asked.clear()
        estimate = onepixel.signature(classifier, values=values, engine="adaptive").details["error_estimate"]
        cells = np.concatenate(asked)
        searched = cells[: len(cells) - estimate["checks"]]
        highest = np.full(side * side, 0.5)
        np.maximum.at(highest, searched[:, 0], table[searched[:, 0], searched[:, 1]])
        moving = float((table > highest[:, None] + CHECK_TOLERANCE).mean())
        wrong += moving > estimate["cells_at_most"]
        unasked = 1 - len(searched) / table.size
        wrong_if_taken_at_face_value += moving > unasked * estimate["moved"] / estimate["checks"]
    assert wrong <= binom.ppf(0.999, functions, 0.05)
    # The test could see a statement that is wrong too often: the plain rate of the checks is.
    assert wrong_if_taken_at_face_value > 0.25 * functions
