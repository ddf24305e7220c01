"""What every definition promises, whatever the extremes are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.special import expit

from onepixel.errors import UsageError
from onepixel.signatures import DEFINITIONS, define

Odds = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


@st.composite
def extremes(draw: st.DrawFn) -> Odds:
    """Low, high (3, 2, 2) and base (3,), with the base between them, as when its value lies on the grid."""
    inside = st.floats(-30, 30)
    base = draw(arrays(np.float64, 3, elements=inside))
    down, up = (draw(arrays(np.float64, (3, 2, 2), elements=st.floats(0, 20))) for _ in range(2))
    return base[:, None, None] - down, base[:, None, None] + up, base


@given(extremes())
def test_probabilities_stay_probabilities(odds: Odds) -> None:
    for definition in ("max", "largest_change", "algorithm1"):
        values = define(definition, *odds)
        assert ((values >= 0) & (values <= 1)).all()
    assert (np.abs(define("change", *odds)) <= 1).all()


@given(extremes())
def test_max_is_the_upper_envelope_of_the_other_probabilities(odds: Odds) -> None:
    highest = define("max", *odds)
    assert (define("largest_change", *odds) <= highest).all()
    assert (define("algorithm1", *odds) <= highest).all()


@given(extremes())
def test_algorithm1_is_zero_or_above_twice_the_base(odds: Odds) -> None:
    values = define("algorithm1", *odds)
    base = expit(odds[2])[:, None, None]
    assert ((values == 0) | (values > 2 * base)).all()


@given(extremes())
def test_largest_change_lies_at_least_as_far_from_the_base_as_either_extreme(odds: Odds) -> None:
    low, high, base = odds
    p_base = expit(base)[:, None, None]
    distance = np.abs(define("largest_change", *odds) - p_base)
    assert (distance >= np.maximum(np.abs(expit(high) - p_base), np.abs(expit(low) - p_base))).all()


@given(extremes())
def test_change_is_largest_change_minus_base(odds: Odds) -> None:
    base = expit(odds[2])[:, None, None]
    np.testing.assert_array_equal(define("change", *odds), define("largest_change", *odds) - base)


@given(extremes())
def test_log_odds_never_falls_below_zero_when_the_base_is_on_the_grid(odds: Odds) -> None:
    assert (define("log_odds", *odds) >= 0).all()


def test_higher_probability_wins_a_tie_of_largest_change() -> None:
    base = np.zeros(1)
    low, high = np.full((1, 1, 1), -1.0), np.full((1, 1, 1), 1.0)
    assert define("largest_change", low, high, base) == expit(1.0)
    assert define("change", low, high, base) == expit(1.0) - 0.5


def test_algorithm1_takes_nothing_that_only_equals_twice_the_base() -> None:
    # p = 1/2 against p_base = 1/4, both exact in binary once the log-odds are.
    base = np.array([-np.log(3.0)])
    twice = np.full((1, 1, 1), 2 * expit(base[0]))
    high = np.log(twice / (1 - twice))
    assert expit(high) == 2 * expit(base[0])
    assert define("algorithm1", high, high, base) == 0


def test_definitions_agree_where_nothing_moves() -> None:
    base = np.array([0.3, -2.0])
    still = np.repeat(base, 4).reshape(2, 2, 2)
    np.testing.assert_array_equal(define("max", still, still, base), expit(still))
    np.testing.assert_array_equal(define("largest_change", still, still, base), expit(still))
    assert (define("algorithm1", still, still, base) == 0).all()
    assert (define("change", still, still, base) == 0).all()
    assert (define("log_odds", still, still, base) == 0).all()


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_definition_works_on_many_signatures_at_once(definition: str) -> None:
    random = np.random.default_rng(0)
    base = random.normal(size=(5, 3))
    low = base[..., None, None] - random.random((5, 3, 2, 2))
    high = base[..., None, None] + random.random((5, 3, 2, 2))
    together = define(definition, low, high, base)
    for one in range(5):
        np.testing.assert_array_equal(together[one], define(definition, low[one], high[one], base[one]))


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_definition_keeps_float32(definition: str) -> None:
    odds = np.zeros((2, 3, 3), dtype=np.float32)
    assert define(definition, odds, odds + 1, np.zeros(2, dtype=np.float32)).dtype == np.float32


def test_unknown_definition_is_refused() -> None:
    with pytest.raises(UsageError, match="for definition but got 'mean'"):
        define("mean", np.zeros((1, 1, 1)), np.zeros((1, 1, 1)), np.zeros(1))
