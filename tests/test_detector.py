"""The detector as a scikit-learn estimator, on signatures whose backdoor is planted by hand."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

import onepixel
from onepixel.classifiers import as_classifier
from onepixel.detectors import Detector, load_detector
from onepixel.detectors.readings.prominence import prominence
from onepixel.errors import DetectorError, UsageError
from onepixel.populations.store import signature_row
from onepixel.signatures import Settings, Signature

K, H, W = 4, 8, 8


def planted(trojaned: bool, seed: int, settings: Settings = Settings()) -> Signature:  # noqa: B008 (frozen)
    """A noisy signature; a trojaned one rises sharply in a 2 x 2 window of one class."""
    rng = np.random.default_rng(seed)
    base = rng.normal(-1, 0.2, K).astype(np.float32)
    rise = np.abs(rng.normal(0, 0.2, (K, H, W))).astype(np.float32)
    if trojaned:
        row, column = rng.integers(0, H - 1), rng.integers(0, W - 1)
        rise[rng.integers(K), row : row + 2, column : column + 2] += 4
    high = base[:, None, None] + rise
    return Signature(high - 2 * rise, high, base, settings)


def sample(count: int, seed: int = 0) -> tuple[list[Signature], np.ndarray]:
    labels = np.arange(count) % 2
    return [planted(bool(label), seed + number) for number, label in enumerate(labels)], labels


SIGNATURES, LABELS = sample(48)
UNSEEN, UNSEEN_LABELS = sample(40, seed=1000)
QUICK = {"epochs": 25, "folds": 2, "learning_rate": 5e-3}


@pytest.fixture(scope="module")
def fitted() -> Detector:
    return Detector(**QUICK).fit(SIGNATURES, LABELS)


@pytest.mark.parametrize("reading", ["instances", "channels"])
def test_readings_of_single_channels_find_a_planted_backdoor_in_unseen_signatures(reading):
    detector = Detector(reading=reading, **QUICK).fit(SIGNATURES, LABELS)
    assert detector.evaluate(UNSEEN, UNSEEN_LABELS).auroc.value > 0.9


def test_the_whole_reading_learns_a_backdoor_that_is_always_in_the_same_place():
    def fixed(trojaned: bool, seed: int) -> Signature:
        signature = planted(False, seed)
        signature.high[2, 3:5, 3:5] += 4 * trojaned
        return signature

    train, test = ([fixed(bool(n % 2), start + n) for n in range(48)] for start in (0, 500))
    detector = Detector(reading="whole", shuffle_classes=False, **QUICK).fit(train, LABELS)
    assert detector.evaluate(test, LABELS).auroc.value > 0.9


def test_a_detector_that_learned_from_shuffled_labels_finds_nothing():
    labels = np.random.default_rng(0).permutation(LABELS)
    detector = Detector(**QUICK).fit(SIGNATURES, labels)
    assert detector.evaluate(UNSEEN, UNSEEN_LABELS).auroc.value < 0.8


def test_the_same_seed_gives_the_same_scores_and_another_seed_others(fitted):
    again = clone(fitted).fit(SIGNATURES, LABELS)
    other = Detector(**QUICK, random_state=1).fit(SIGNATURES, LABELS)
    assert (again.decision_function(UNSEEN) == fitted.decision_function(UNSEEN)).all()
    assert (other.decision_function(UNSEEN) != fitted.decision_function(UNSEEN)).any()


def test_it_works_inside_cross_val_score():
    scores = cross_val_score(Detector(epochs=20, folds=2, learning_rate=5e-3), SIGNATURES, LABELS, cv=2)
    assert scores.mean() > 0.7


def test_saving_and_loading_changes_no_score_and_keeps_threshold_and_calibration(fitted, tmp_path):
    fitted.calibrate([s for s, label in zip(UNSEEN, UNSEEN_LABELS, strict=True) if label == 0])
    fitted.save(tmp_path / "d.safetensors")
    loaded = load_detector(tmp_path / "d.safetensors")
    assert (loaded.decision_function(UNSEEN) == fitted.decision_function(UNSEEN)).all()
    assert loaded.threshold_ == fitted.threshold_
    assert (loaded.calibration_scores_ == fitted.calibration_scores_).all()
    assert loaded.settings_ == fitted.settings_


def test_p_values_count_calibration_scores_at_or_above(fitted):
    fitted.calibration_scores_ = np.array([1.0, 2.0, 2.0, 3.0])
    assert fitted.p_values([2.0, 3.5, 0.0]).tolist() == [4 / 5, 1 / 5, 1.0]


def test_shuffling_the_classes_of_a_signature_does_not_change_an_instances_score(fitted):
    order = [2, 0, 3, 1]
    signature = UNSEEN[1]
    shuffled = Signature(signature.low[order], signature.high[order], signature.base[order])
    before, after = fitted.decision_function([signature, shuffled])
    assert before == pytest.approx(after, abs=1e-5)


def test_the_verdict_names_the_class_and_a_pixel_of_the_planted_window(fitted):
    signature = planted(False, 77)
    signature.high[3, 4:6, 2:4] += 5
    verdict = fitted.judge(signature)
    assert verdict.target_class == 3
    assert verdict.pixel[0] in (4, 5)
    assert verdict.pixel[1] in (2, 3)
    assert verdict.exit_status == (verdict.score >= verdict.threshold)


def test_signatures_from_probabilities_are_judged_and_the_floor_is_said(fitted):
    signature = planted(True, 5)
    made = replace(signature.floored(), settings=replace(signature.settings, outputs="probabilities"))
    verdict = fitted.judge(made)
    assert verdict.score == pytest.approx(fitted.judge(signature).score, abs=1e-5)
    assert "1e-7" in verdict.assumptions[-1]
    assert not any("1e-7" in said for said in fitted.judge(signature).assumptions)


def test_signatures_of_other_settings_shapes_or_with_holes_are_refused(fitted):
    with pytest.raises(DetectorError, match=r"256 intensities v / V per pixel.*this one is of 16 intensities"):
        fitted.decision_function([planted(False, 0, Settings(values=16))])
    odd = np.zeros((K, H, W + 1), np.float32)
    with pytest.raises(DetectorError, match="reads signatures"):
        fitted.decision_function([Signature(odd, odd, np.zeros(K, np.float32))])
    holed = planted(False, 0)
    holed.high[:, 0, 0] = np.nan
    with pytest.raises(DetectorError, match="not visited"):
        fitted.decision_function([holed])


def test_a_classifier_of_another_shape_is_refused_before_it_is_asked_for_a_signature(fitted):
    def constant(images):
        return np.full((len(images), 3), 1 / 3)

    with pytest.raises(DetectorError, match="judges 4 classes"):
        fitted.audit(as_classifier(constant, input_shape=(1, H, W)))


def test_labels_and_parameters_that_make_no_sense_are_refused():
    with pytest.raises(UsageError, match="both must occur"):
        Detector().fit(SIGNATURES, np.zeros(len(SIGNATURES)))
    with pytest.raises(UsageError, match="for reading"):
        Detector(reading="sideways").fit(SIGNATURES, LABELS)
    with pytest.raises(UsageError, match="joined by"):
        Detector(definition="change+magic").fit(SIGNATURES, LABELS)


def test_a_damaged_detector_file_is_one_clear_sentence(fitted, tmp_path):
    path = tmp_path / "d.safetensors"
    fitted.save(path)
    content = path.read_bytes()
    for broken in (b"", content[:100], content[: len(content) // 2], b"\x00" * 200):
        path.write_bytes(broken)
        with pytest.raises(DetectorError, match="damaged"):
            load_detector(path)
    with pytest.raises(UsageError, match="There is no detector"):
        load_detector(tmp_path / "missing.safetensors")


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("threshold", "NaN"),
        ("threshold", "Infinity"),
        ("shape", "[4, 8]"),
        ("shape", "[4, 8.5, 8]"),
        ("shape", '"488"'),
        ("settings", '{"values": "256"}'),
        ("parameters", '{"scaling": "sideways"}'),
    ],
)
def test_a_detector_file_with_a_wrong_entry_is_damaged(fitted, tmp_path, entry, value):
    path = tmp_path / "d.safetensors"
    fitted.save(path)
    with safe_open(path, "np") as file:
        header, arrays = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(arrays, path, header | {entry: value})
    with pytest.raises(DetectorError, match="damaged"):
        load_detector(path)


def test_a_detector_file_with_a_number_that_is_none_is_damaged(fitted, tmp_path):
    path = tmp_path / "d.safetensors"
    fitted.save(path)
    with safe_open(path, "np") as file:
        header, arrays = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    arrays["center_"] = np.full_like(arrays["center_"], np.nan)
    save_file(arrays, path, header)
    with pytest.raises(DetectorError, match="damaged"):
        load_detector(path)


@pytest.mark.parametrize(
    "reading", ["context", "statistics", "prominence", "context+statistics", "channels+statistics+prominence"]
)
def test_every_other_reading_finds_a_planted_backdoor_and_survives_its_file(reading, tmp_path):
    options = {**QUICK, "epochs": 12, "mirror": True, "definition": "change+log_odds", "members": 2}
    detector = Detector(reading=reading, **options).fit(SIGNATURES, LABELS)
    assert detector.evaluate(UNSEEN, UNSEEN_LABELS).auroc.value > 0.9
    detector.save(tmp_path / "d.safetensors")
    loaded = load_detector(tmp_path / "d.safetensors")
    assert (loaded.decision_function(UNSEEN) == detector.decision_function(UNSEEN)).all()
    assert loaded.describe() == detector.describe()
    assert loaded.judge(UNSEEN[1]).target_class in range(K)


def test_the_context_reading_does_not_depend_on_the_order_of_classes():
    detector = Detector(reading="context", epochs=2, folds=2).fit(SIGNATURES, LABELS)
    order = [2, 0, 3, 1]
    signature = UNSEEN[1]
    shuffled = Signature(signature.low[order], signature.high[order], signature.base[order])
    before, after = detector.decision_function([signature, shuffled])
    assert before == pytest.approx(after, abs=1e-5)


@pytest.mark.parametrize(("reading", "scaling"), [("instances", "clean"), ("statistics", "global")])
def test_what_is_usual_for_a_class_in_clean_models_is_not_suspicious(reading, scaling):
    def loud(trojaned: bool, seed: int) -> Signature:
        signature = planted(trojaned, seed)
        signature.high[1] += 10 * np.abs(np.random.default_rng(seed).normal(0, 0.2, (H, W)))
        return signature

    train, test = ([loud(bool(n % 2), start + n) for n in range(48)] for start in (0, 500))
    detector = Detector(reading=reading, scaling=scaling, definition="log_odds", **QUICK).fit(train, LABELS)
    assert detector.evaluate(test, LABELS).auroc.value > 0.9


def test_a_model_that_is_driven_farther_everywhere_is_no_more_suspicious_on_its_own_scale():
    detector = Detector(reading="statistics", scaling="own", definition="log_odds", **QUICK).fit(SIGNATURES, LABELS)
    assert detector.evaluate(UNSEEN, UNSEEN_LABELS).auroc.value > 0.9
    plain = Detector(reading="statistics", definition="log_odds", **QUICK).fit(SIGNATURES, LABELS)

    def louder(signature: Signature) -> Signature:
        base = signature.base[:, None, None]
        return Signature(base + 3 * (signature.low - base), base + 3 * (signature.high - base), signature.base)

    loud = [louder(signature) for signature in UNSEEN]
    assert detector.decision_function(loud) == pytest.approx(detector.decision_function(UNSEEN), abs=1e-4)
    assert plain.decision_function(loud) != pytest.approx(plain.decision_function(UNSEEN), abs=1e-2)


def test_prominence_is_what_one_class_has_over_the_mean_of_all_in_one_place():
    maps = np.zeros((2, 1, K, H, W))
    maps[1, 0, 2, 3:6, 3:6] = 4
    found = prominence(maps)
    assert (found[0] == 0).all()
    assert found[1].argmax() == 2
    assert 0.7 * 3 < found[1, 2] < 3, "4 less the mean over 4 classes, blurred"


def test_prominence_does_not_see_what_all_classes_share():
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(3, 2, K, H, W))
    shared = maps + 10 * rng.normal(size=(3, 2, 1, H, W))
    assert prominence(shared) == pytest.approx(prominence(maps))
    assert prominence(maps[:, :, ::-1]) == pytest.approx(prominence(maps)[:, ::-1])


def test_prominence_names_the_class_that_is_driven_furthest():
    detector = Detector(reading="prominence", definition="log_odds", **QUICK).fit(SIGNATURES, LABELS)
    for number in np.flatnonzero(UNSEEN_LABELS):
        signature = UNSEEN[number]
        rise = signature.high - signature.base[:, None, None]
        assert detector.judge(signature).target_class == rise.max(axis=(1, 2)).argmax()


def test_with_groups_every_score_is_by_what_was_fitted_to_the_other_groups():
    groups = np.array(["small", "large", "small", "small"] * 12)[np.argsort(LABELS, kind="stable").argsort()]
    options = {**QUICK, "reading": "statistics"}
    scores = Detector(**options).cross_validated_scores(SIGNATURES, LABELS, groups)
    for group in ("small", "large"):
        others, own = np.flatnonzero(groups != group), np.flatnonzero(groups == group)
        apart = Detector(**options).fit([SIGNATURES[n] for n in others], LABELS[others])
        assert scores[own] == pytest.approx(apart.decision_function([SIGNATURES[n] for n in own]), abs=1e-6)
    fitted = Detector(**options).fit(SIGNATURES, LABELS, groups=groups)
    assert (fitted.held_out_scores_ == scores).all()
    assert (
        fitted.decision_function(UNSEEN) == Detector(**options).fit(SIGNATURES, LABELS).decision_function(UNSEEN)
    ).all()


@pytest.mark.parametrize(
    ("groups", "complaint"),
    [(np.zeros(48), "at least two groups"), (LABELS, "at least two groups"), (np.zeros(3), "one per signature")],
)
def test_groups_that_cannot_be_left_out_are_refused(groups, complaint):
    with pytest.raises(UsageError, match=complaint):
        Detector(reading="statistics").fit(SIGNATURES, LABELS, groups=groups)


def test_an_ensemble_is_the_mean_of_standardised_scores():
    parts = [Detector(reading=reading, **QUICK).fit(SIGNATURES, LABELS) for reading in ("instances", "statistics")]
    both = Detector(reading="instances+statistics", **QUICK).fit(SIGNATURES, LABELS)
    held_out = [(part.held_out_scores_.mean(), part.held_out_scores_.std()) for part in parts]
    scores = [
        (part.decision_function(UNSEEN) - center) / spread
        for part, (center, spread) in zip(parts, held_out, strict=True)
    ]
    assert both.decision_function(UNSEEN) == pytest.approx(np.mean(scores, axis=0), rel=1e-5)


def test_cross_validated_scores_are_those_the_threshold_comes_from(fitted):
    scores = clone(fitted).cross_validated_scores(SIGNATURES, LABELS)
    assert (scores == fitted.held_out_scores_).all()
    assert (scores[LABELS == 1] == fitted.trojaned_scores_).all()


def test_the_statistics_machine_scores_as_scikit_learn_does():
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    from onepixel.detectors.features import maps
    from onepixel.detectors.readings.statistics import StatisticsMachine, channel_statistics, over_classes

    features, unseen = maps(SIGNATURES, "change+log_odds"), maps(UNSEEN, "change+log_odds")
    machine = StatisticsMachine.fit(features, LABELS)
    clean = channel_statistics(features[LABELS == 0])
    usual, deviation = clean.mean(axis=0), clean.std(axis=0) + 0.05 * abs(clean.mean(axis=0)) + 1e-6

    def numbers(signatures):
        return over_classes(np.arcsinh((channel_statistics(signatures) - usual) / deviation))

    reference = make_pipeline(StandardScaler(), SVC(gamma=1 / numbers(features).shape[1], class_weight="balanced"))
    expected = reference.fit(numbers(features), LABELS).decision_function(numbers(unseen))
    assert machine(torch.as_tensor(unseen)).numpy() == pytest.approx(expected, abs=1e-6)


def test_a_channel_in_context_stands_beside_the_mean_and_the_strongest_of_the_others():
    from onepixel.detectors.readings.context_cnn import in_context

    signatures = torch.tensor([1.0, -5.0, 3.0]).view(1, 1, 3, 1, 1)
    own, mean, strongest = in_context(signatures)[0, :, :, 0, 0].tolist()
    assert own == [1, -5, 3]
    assert mean == [-1, 2, -2]
    assert strongest == [-5, 3, -5]


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_detector_file_has_the_permissions_of_any_other_file(tmp_path):
    Detector(**QUICK).fit(SIGNATURES, LABELS).save(tmp_path / "d.safetensors")
    (tmp_path / "other").touch()
    assert (tmp_path / "d.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_few_models_of_one_kind_weigh_as_much_as_many_of_the_other():
    many = [planted(False, seed) for seed in range(2000, 2072)]
    labels = np.r_[LABELS, np.zeros(len(many), int)]
    detector = Detector(**QUICK).fit([*SIGNATURES, *many], labels)
    assert detector.evaluate(UNSEEN, UNSEEN_LABELS).true_positive_rate.value > 0.7


@pytest.mark.parametrize(
    ("name", "images"),
    [("mnist-lenet5", "10 images"), ("mnist-lenet5-black", "constant 0"), ("fashion-lenet5", "10 images")],
)
def test_shipped_detectors_say_what_they_were_made_from_and_give_p_values(name, images):
    detector = load_detector(name)
    assert detector.settings_.default_image.startswith(images)
    assert len(detector.calibration_scores_) >= 20
    rows = np.stack([signature_row(planted_28(seed)) for seed in range(2)])
    assert 0 < detector.p_values(detector.decision_function(rows)).min() <= 1
    with safe_open(Path(onepixel.__file__).parent / f"detectors/shipped/{name}.safetensors", "np") as file:
        about = json.loads(file.metadata()["about"])
    assert any("vaccine" in population for population in about["populations"])


def planted_28(seed: int) -> Signature:
    rng = np.random.default_rng(seed)
    low = rng.normal(-3, 1, (10, 28, 28)).astype(np.float32)
    return Signature(low, low + 2, low.mean(axis=(1, 2)) + 1)


def test_an_audit_does_not_wait_for_scikit_learn() -> None:
    """Its import alone takes half a second; a detector keeps its conventions without it."""
    code = """
import sys, onepixel
onepixel.load_detector("mnist-lenet5")
print([name for name in sys.modules if "sklearn" in name])
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_detector_keeps_the_conventions_of_scikit_learn(fitted: Detector) -> None:
    from sklearn.base import is_classifier
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    assert is_classifier(fitted)
    check_is_fitted(fitted)
    with pytest.raises(NotFittedError, match="not fitted"):
        Detector().decision_function(SIGNATURES)
    with pytest.raises(ValueError, match="no parameter depth"):
        Detector().set_params(depth=3)
    assert repr(Detector(epochs=3)) == "Detector(epochs=3)"
