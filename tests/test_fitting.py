"""Detectors that experiments share: fitted once, the same as when fitted apart, and gone afterwards."""

import os
from pathlib import Path

import numpy as np
import pytest

from onepixel.detectors import Detector
from onepixel.experiments.fitting import FOLDER, fitted, shared_fits
from onepixel.experiments.models import load_training
from planted_zoo import DEVELOPMENT, NETWORKS, QUICK, make_zoo


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    return load_training(make_zoo(tmp_path_factory.mktemp("populations") / "planted", DEVELOPMENT), NETWORKS)


@pytest.fixture
def fits(monkeypatch) -> list[int]:
    """The seed of every fit that happens."""
    seeds: list[int] = []
    fit = Detector.fit

    def counted(self, *arguments, **options):
        seeds.append(self.random_state)
        return fit(self, *arguments, **options)

    monkeypatch.setattr(Detector, "fit", counted)
    return seeds


def test_the_same_detector_is_fitted_once_and_any_other_again(training, fits):
    pairs = training.labelled(with_stamped=False)
    with shared_fits():
        folder = Path(os.environ[FOLDER])
        first = fitted(QUICK, pairs, training.settings, 0)
        again = fitted(dict(QUICK), training.labelled(with_stamped=False), training.settings, 0)
        assert fits == [0]
        fitted(QUICK, pairs, training.settings, 1)
        fitted(QUICK, training.labelled(with_stamped=True), training.settings, 0)
        fitted({**QUICK, "definition": "log_odds"}, pairs, training.settings, 0)
        fitted(QUICK, pairs, training.settings, 0, np.arange(len(pairs.labels)) % 2)
        assert fits == [0, 1, 0, 0, 0]
        assert any(folder.iterdir())
    assert not folder.exists()
    assert FOLDER not in os.environ
    rows = training.spare.rows
    apart = fitted(QUICK, pairs, training.settings, 0)
    assert fits[-1] == 0
    for detector in (first, again):
        assert np.array_equal(detector.decision_function(rows), apart.decision_function(rows))
        assert detector.threshold_ == apart.threshold_


def test_nothing_is_shared_unless_asked_for(training, fits):
    for _ in range(2):
        fitted(QUICK, training.labelled(with_stamped=False), training.settings, 7)
    assert fits == [7, 7]
