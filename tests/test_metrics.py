import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.metrics import roc_auc_score

from onepixel.detectors.metrics import (
    GOAL,
    balanced_accuracy,
    best_threshold,
    bootstrap_mean,
    clopper_pearson,
    cross_entropy,
    evaluate_scores,
    fast_auroc,
    share_of,
)
from onepixel.detectors.probability import probabilities
from onepixel.errors import UsageError


def test_clopper_pearson_gives_the_textbook_interval():
    estimate = clopper_pearson(4, 20)
    assert (round(estimate.low, 4), round(estimate.high, 4)) == (0.0573, 0.4366)


def test_a_share_is_the_rate_of_what_is_true():
    assert share_of(flag for flag in (True, None, 3, False)) == clopper_pearson(2, 4)
    with pytest.raises(UsageError):
        share_of([])


@given(st.integers(1, 60), st.data())
def test_clopper_pearson_bounds_are_where_the_binomial_tail_is_a_fortieth(trials, data):
    hits = data.draw(st.integers(0, trials))
    estimate = clopper_pearson(hits, trials)
    assert estimate.low <= hits / trials <= estimate.high
    if hits:
        assert binom.sf(hits - 1, trials, estimate.low) == pytest.approx(0.025, abs=1e-6)
    if hits < trials:
        assert binom.cdf(hits, trials, estimate.high) == pytest.approx(0.025, abs=1e-6)


@given(st.lists(st.integers(0, 5), min_size=1), st.lists(st.integers(0, 5), min_size=1))
def test_fast_auroc_equals_scikit_learns(clean, trojaned):
    labels = [0] * len(clean) + [1] * len(trojaned)
    found = fast_auroc(np.array(clean, float), np.array(trojaned, float))
    assert found == pytest.approx(roc_auc_score(labels, clean + trojaned))


@given(st.lists(st.floats(-5, 5), min_size=2), st.lists(st.floats(-5, 5), min_size=2))
def test_no_score_is_a_better_threshold_than_the_best_one(clean, trojaned):
    c, t = np.array(clean), np.array(trojaned)
    best = balanced_accuracy(c, t, best_threshold(c, t))
    inner = np.unique(np.r_[c, t])[1:]
    assert all(best >= balanced_accuracy(c, t, threshold) - 1e-12 for threshold in inner)


def test_an_evaluation_of_separated_scores_is_perfect_and_its_intervals_hold_it():
    scores, labels = np.r_[np.zeros(20), np.ones(20)], np.r_[np.zeros(20, int), np.ones(20, int)]
    result = evaluate_scores(scores, labels, 0.5)
    assert result.detection_rate.value == result.auroc.value == 1
    assert result.false_positive_rate.high == pytest.approx(0.168, abs=1e-3)


def test_the_bootstrap_covers_the_true_auroc_at_about_its_rate():
    rng = np.random.default_rng(0)
    labels = np.r_[np.zeros(60, int), np.ones(60, int)]
    truth, covered = 0.7602, 0
    for _ in range(60):
        scores = np.r_[rng.normal(0, 1, 60), rng.normal(1, 1, 60)]
        estimate = evaluate_scores(scores, labels, 0.5).auroc
        covered += estimate.low <= truth <= estimate.high
    assert covered >= 50


def test_an_evaluation_without_one_kind_is_refused():
    with pytest.raises(UsageError, match="needs clean and trojaned"):
        evaluate_scores(np.ones(3), np.ones(3, int), 0.5)


def test_the_interval_of_a_mean_is_that_of_the_normal_approximation_for_many_values():
    values = np.random.default_rng(0).random(400)
    estimate = bootstrap_mean(values)
    half = 1.96 * values.std() / 20
    assert estimate.value == values.mean()
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.005)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.005)
    with pytest.raises(UsageError, match="no values"):
        bootstrap_mean(values[:0])


def test_cross_entropy_is_that_of_a_coin_where_nothing_is_known_and_small_where_scores_tell():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], (40, 20))
    known = rng.normal(0, 1, 50), rng.normal(4, 1, 50)
    scores = np.r_[rng.normal(0, 1, 40), rng.normal(4, 1, 20)]
    told = evaluate_scores(scores, labels, 2.0, known=known).cross_entropy
    assert told is not None
    assert told.low <= told.value <= told.high < GOAL
    shares = probabilities(scores, *known)
    assert shares is not None
    assert told.value == pytest.approx(cross_entropy(shares[:40], shares[40:]))
    blind = evaluate_scores(scores, labels, 2.0, known=(known[0], known[0])).cross_entropy
    assert blind is not None
    assert blind.value == pytest.approx(np.log(2), abs=0.05)
    assert evaluate_scores(scores, labels, 2.0).cross_entropy is None
    assert cross_entropy(np.full(3, 0.5), np.full(9, 0.5)) == pytest.approx(np.log(2))
    assert cross_entropy(np.zeros(2), np.array([0.0])) < 20, "an error of certainty costs much, and not everything"
