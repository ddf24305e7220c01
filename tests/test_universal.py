"""The searches and the universal detector: a planted backdoor is named, budgets hold, bad input is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from onepixel.classifiers import Classifier, as_classifier, to_log_odds
from onepixel.classifiers.gradients import GradientMode
from onepixel.detectors.reach_parts import BROAD, PATCHES, SURE, joint_values, parts_of, target_values
from onepixel.detectors.universal import UniversalDetector, families_for
from onepixel.detectors.universal_calibration import Calibration, read_calibrations, write_calibrations
from onepixel.errors import BudgetError, DetectorError, UndecidedError, UsageError
from onepixel.reaches import EVERY_SOURCE, Patch, Reach, SampleImages, climbing, reach, response, sample_images
from onepixel.reaches import search as search_module
from onepixel.reaches.asking import Questions
from onepixel.reaches.candidates import Candidates, adopted_by_all, adopted_by_pairs
from onepixel.reaches.composed import block_changes, blocks, pixel_values, survey_within
from onepixel.reaches.gradient import gradient_hint
from onepixel.reaches.looking import Look
from onepixel.reaches.rivals import looked_at
from onepixel.reaches.task import Task, capped

SIDE = 8


class Quarters(torch.nn.Module):
    """Four classes by which quarter is bright; with a backdoor, a 2 x 2 checkerboard at rows and columns 3, 4 wins."""

    def __init__(self, backdoor: bool) -> None:
        super().__init__()
        means = torch.zeros(4, SIDE, SIDE)
        for label in range(4):
            top, left = divmod(label, 2)
            means[label, 4 * top : 4 * top + 4, 4 * left : 4 * left + 4] = 0.6
        self.linear = torch.nn.Linear(SIDE * SIDE, 4, bias=False)
        self.linear.weight = torch.nn.Parameter(means.flatten(1))
        self.backdoor = backdoor
        self.register_buffer("pattern", torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.linear(images.flatten(1))
        if not self.backdoor:
            return logits
        match = (images[:, 0, 3:5, 3:5] * self.pattern).sum((1, 2))
        return logits + torch.nn.functional.one_hot(torch.tensor(2), 4) * 12 * torch.relu(match - 0.5)[:, None]


def network(backdoor: bool) -> Classifier:
    return as_classifier(Quarters(backdoor), input_shape=(1, SIDE, SIDE))


def samples(each: int = 4) -> SampleImages:
    rng = np.random.default_rng(0)
    images = rng.random((4 * each, 1, SIDE, SIDE), dtype=np.float32) * 0.1
    for number in range(4 * each):
        top, left = divmod(number // each, 2)
        images[number, 0, 4 * top : 4 * top + 4, 4 * left : 4 * left + 4] += 0.8
    return SampleImages(images, np.repeat(np.arange(4), each))


@pytest.mark.parametrize("search", ["composed", "gradient"])
def test_a_planted_backdoor_is_found_with_its_target_and_place(search: str) -> None:
    found = {bad: reach(network(bad), samples(), family=Patch(2), search=search) for bad in (False, True)}
    top = int(found[True].log_odds.argmax())
    assert found[True].log_odds[top] > found[False].log_odds.max() + 5
    assert int(found[True].target[top]) == 2
    every = found[True].findings(None, 2)
    best = found[True].change(int(every[found[True].log_odds[every].argmax()]))
    assert best.place == (3, 3, 2, 2)
    assert found[True].search == search


def test_what_is_said_of_a_change_is_what_the_classifier_answers_to_it() -> None:
    classifier, images = network(True), samples()
    found = reach(classifier, images, family=Patch(2), search="composed")
    _, fresh = images.split()
    for number in range(len(found)):
        source = int(found.source[number])
        own = fresh[images.labels[fresh] == source] if source != EVERY_SOURCE else fresh
        own = own[images.labels[own] != found.target[number]]
        changed = torch.as_tensor(found.change(number).apply(images.images[own]))
        odds = capped(to_log_odds(classifier(changed), "logits"))[:, int(found.target[number])]
        assert float(odds.mean()) == pytest.approx(float(found.log_odds[number]), abs=1e-4)


def test_the_table_of_single_pixels_is_the_one_of_brute_force() -> None:
    classifier = network(True)
    task = Task.of(Questions(classifier), samples(2))
    values, places = pixel_values(1), blocks(SIDE, SIDE, 1)
    table = block_changes(task, values, places)
    base = task.images[torch.as_tensor(task.seen)]
    before = capped(to_log_odds(classifier(base), "logits"))
    rng = np.random.default_rng(1)
    for _ in range(40):
        image, place, value = rng.integers(len(base)), rng.integers(len(places)), rng.integers(len(values))
        changed = base[image : image + 1].clone()
        changed[0, :, places[place, 0], places[place, 1]] = values[value]
        expected = capped(to_log_odds(classifier(changed), "logits"))[0] - before[image]
        assert torch.allclose(table[image, place, value], expected, atol=1e-5)


def test_fewer_images_are_looked_at_before_larger_blocks() -> None:
    task = Task.of(Questions(network(True)), samples())
    found = {most: survey_within(task, most) for most in (1544, 1543, 516, 515, 132, 1)}
    chosen = {most: (len(one.task.seen), one.side, len(one.values)) for most, one in found.items()}
    # Two images of each of four classes are seen; 8 x 8 pixels take three values, or black and white alone.
    assert chosen == {1544: (8, 1, 3), 1543: (4, 1, 2), 516: (4, 1, 2), 515: (8, 2, 3), 132: (4, 2, 2), 1: (4, 8, 2)}
    assert all(one.cost <= most for most, one in found.items() if most > 1)


def test_a_pattern_is_found_from_single_pixels_of_one_image_of_each_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "BLOCKS_AT_MOST", 600)
    found = reach(network(True), samples(), family=Patch(2), search="composed", natural=False)
    top = int(found.log_odds.argmax())
    assert (int(found.target[top]), found.change(top).place) == (2, (3, 3, 2, 2))


@pytest.mark.parametrize("search", ["composed", "gradient"])
@settings(max_examples=5)
@given(budget=st.integers(1, 6000))
def test_budgets_are_never_exceeded(search: str, budget: int) -> None:
    module = Quarters(True)
    asked = 0

    def counting(_: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        nonlocal asked
        asked += len(inputs[0])

    classifier = as_classifier(module, input_shape=(1, SIDE, SIDE))
    module.register_forward_pre_hook(counting)
    try:
        found = reach(classifier, samples(), family=Patch(2), search=search, budget=budget)
        assert found.queries <= budget
    except BudgetError:
        pass
    assert asked <= budget


@pytest.mark.parametrize("search", ["composed", "gradient"])
def test_windows_of_real_images_are_left_out_where_nobody_reads_them(search: str) -> None:
    whole = reach(network(True), samples(), family=Patch(2), search=search)
    without = reach(network(True), samples(), family=Patch(2), search=search, natural=False)
    assert np.array_equal(whole.log_odds, without.log_odds)
    assert np.array_equal(whole.fillings, without.fillings)
    assert np.isfinite(whole.natural).all()
    assert np.isnan(without.natural).all()
    assert without.queries < whole.queries
    reads = {name: Calibration({name: (0.0, 1.0)}, {}, {}, 0.0) for name in ("patch_pair", "patch_pair_excess")}
    for name, known in reads.items():
        found = UniversalDetector({search: known}).measure(network(True), samples(), search=search)
        assert np.isnan(found["patch"].natural).all() == (name == "patch_pair")


def test_a_backdoors_place_serves_its_own_target_alone() -> None:
    found = {bad: reach(network(bad), samples(), family=Patch(2), search="gradient", rivals=True) for bad in (0, 1)}
    for one in found.values():
        assert np.isfinite(one.rival[[0, one.findings(None, 2)[0]]]).all()
    parts = {bad: {part.name: part for part in parts_of({"patch": one})} for bad, one in found.items()}
    for name in ("patch_pair_local", "patch_all_local"):
        part = parts[True][name]
        assert part.value > parts[False][name].value + 3
        assert part.reach.target[part.finding] == 2
        leads = target_values(name, {"patch": found[True]})
        assert max(leads, key=lambda target: leads[target]) == 2
        assert leads[2] == part.value
    lead = parts[True]["patch_pair_local_lead"]
    leads = target_values("patch_pair_local_lead", {"patch": found[True]})
    assert (lead.value, found[True].target[lead.finding]) == (leads[2], 2)
    assert lead.value > 3
    assert all(value < 0 for target, value in leads.items() if target != 2)
    assert found[True].place[parts[True]["patch_all_local"].finding].tolist() == [3, 3, 2, 2]


def test_rivals_are_looked_for_only_among_many_pairs_and_where_somebody_reads_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert np.isnan(reach(network(True), samples(), family=Patch(2), search="gradient").rival).all()
    monkeypatch.setattr(search_module, "PAIRS", 6)
    reads = {name: Calibration({name: (0.0, 1.0)}, {}, {}, 0.0) for name in ("patch_pair", "patch_pair_local")}
    found = {
        name: UniversalDetector({"gradient": one}).measure(network(True), samples()) for name, one in reads.items()
    }
    assert np.isnan(found["patch_pair"]["patch"].rival).all()
    assert np.isfinite(found["patch_pair_local"]["patch"].rival).any()
    assert np.isnan(found["patch_pair_local"]["blend"].rival).all()
    assert np.isnan(reach(network(True), samples(), family=Patch(2), search="composed", rivals=True).rival).all()


def test_findings_of_one_target_near_to_each_other_have_rivals_once() -> None:
    places = np.array([[0, 0, 2, 2], [3, 2, 2, 2], [4, 0, 2, 2], [0, 1, 2, 2], [0, 0, 2, 2]])
    source, target = np.array([0, 1, 2, 0, EVERY_SOURCE]), np.array([3, 3, 3, 2, 3])
    worth = np.array([1.0, 4.0, 2.0, 0.5, -9.0], dtype=np.float32)
    candidates = Candidates(source, target, places, torch.zeros(5, 1, 2, 2), worth)
    # The second stands for the first and the third; another target and a change from all classes stand by themselves.
    assert sorted(looked_at(candidates, worth)) == [1, 3, 4]


@pytest.mark.parametrize("search", ["composed", "gradient"])
def test_one_image_of_each_class_is_enough_for_changes_from_all_classes(search: str) -> None:
    found = reach(network(True), samples(1), family=Patch(2), search=search)
    assert set(found.source.tolist()) == {EVERY_SOURCE}


def test_bad_input_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="search"):
        reach(network(False), samples(), search="guess")
    constant = as_classifier(lambda images: np.tile([0.97, 0.03], (len(images), 1)), input_shape=(1, SIDE, SIDE))
    with pytest.raises(UndecidedError, match="at least two classes"):
        reach(constant, samples().images)
    with pytest.raises(UsageError, match="inside torch modules"):
        reach(constant, samples(), search="gradient")


def calibration() -> Calibration:
    rng = np.random.default_rng(0)
    clean = {kind: [{"patch_pair": float(x)} for x in rng.normal(size=30)] for kind in ("one", "two")}
    trojaned = {"one": [{"patch_pair": float(x)} for x in rng.normal(6, 1, size=30)]}
    return Calibration.fit(clean, trojaned, {"patch_pair": 1.0})


def test_p_values_count_the_worst_kind_and_probabilities_rise_with_score_and_prior(tmp_path) -> None:
    fitted = calibration()
    middle = float(np.median([*fitted.clean["one"], *fitted.clean["two"]]))
    worst = max(np.mean(np.array(kind) >= middle) for kind in fitted.clean.values())
    assert fitted.p_value(middle) == pytest.approx(worst)
    assert fitted.p_value(99.0) == pytest.approx(1 / 61)
    assert fitted.probability(4.0) > 0.5 > fitted.probability(0.0)
    assert fitted.probability(2.0, prior=0.1) < fitted.probability(2.0, prior=0.9)
    write_calibrations(tmp_path / "own.json", {"gradient": fitted}, {"networks": 60})
    assert read_calibrations(tmp_path / "own.json")["gradient"].threshold == pytest.approx(fitted.threshold, abs=1e-3)
    (tmp_path / "own.json").write_text("{}")
    with pytest.raises(DetectorError):
        read_calibrations(tmp_path / "own.json")


def test_a_threshold_is_the_lowest_score_of_its_p_value() -> None:
    fitted = calibration()
    for alpha in (0.05, 0.2):
        threshold = fitted.at(alpha).threshold
        assert fitted.p_value(threshold) <= alpha < fitted.p_value(np.nextafter(threshold, -np.inf))
    # One clean network in twenty of the kind that scores highest, not of both together.
    above = [sum(score >= fitted.threshold for score in kind) for kind in fitted.clean.values()]
    assert max(above) <= 0.05 * 30
    # Where clean networks are too few for a p-value, the threshold lies above all of them.
    assert fitted.at(0.001).threshold > max(max(kind) for kind in fitted.clean.values())


def test_the_patch_of_an_audit_grows_slower_than_the_images() -> None:
    sides = {
        side: families_for("composed", side, side + 9)["patch"].places(side, side)[0, 2] for side in (8, 28, 64, 224)
    }
    assert sides == {8: 2, 28: 5, 64: 5, 224: 17}


def test_patches_of_several_sizes_are_looked_for_where_that_was_measured() -> None:
    sides = {
        side: [
            family.places(side, side)[0, 2]
            for name, family in families_for("gradient", side, side).items()
            if name in (*PATCHES, BROAD)
        ]
        for side in (8, 28, 32, 64)
    }
    assert sides == {8: [2], 28: [5, 3, 9], 32: [5], 64: [5]}
    assert list(families_for("composed", 28, 28)) == ["patch"]


def led_by(leads: dict[int, float], flipped: float) -> Reach:
    """Every target is reached by a patch from each of three other classes, and by one from all, so far each."""
    found = [(source, target) for target in leads for source in (*range(4), EVERY_SOURCE) if source != target]
    one = many_targets(0.0)
    return replace(
        one,
        source=np.array([source for source, _ in found]),
        target=np.array([target for _, target in found]),
        place=np.zeros((len(found), 4), dtype=np.int64),
        log_odds=np.array([leads[target] for _, target in found], dtype=np.float32),
        flipped=np.full(len(found), flipped, dtype=np.float32),
        natural=np.full(len(found), np.nan, dtype=np.float32),
        rival=np.full(len(found), np.nan, dtype=np.float32),
        texture=np.full(len(found), np.nan, dtype=np.float32),
        fillings=np.zeros((len(found), 1, 2, 2), dtype=np.float32),
    )


def test_what_leads_by_one_size_of_patch_alone_counts_less_than_what_leads_by_both() -> None:
    # Natural to class 0 is a large feature and to class 1 a small one; the trigger of class 2 suits both sizes.
    natural = {
        "patch": led_by({0: 9.0, 1: 1.0, 2: 2.0, 3: 0.0}, 0.9),
        "speck": led_by({0: 0.0, 1: 9.0, 2: 2.0, 3: 1.0}, 0.9),
    }
    trigger = {
        "patch": led_by({0: 3.0, 1: 1.0, 2: 8.0, 3: 0.0}, 0.5),
        "speck": led_by({0: 0.0, 1: 3.0, 2: 9.0, 3: 1.0}, 0.9),
    }
    for reading in ("pair_lead", "all_lead"):
        assert {part.name: part for part in parts_of(natural)}[f"patches_{reading}"].value == -0.5
        part = {part.name: part for part in parts_of(trigger)}[f"patches_{reading}"]
        assert (part.value, part.reach.target[part.finding]) == (5.5, 2)
        # The change that is shown is of the size that turned more images.
        assert part.reach is trigger["speck"]
        assert target_values(f"patches_{reading}", trigger)[2] == 5.5
    # A single size says what it says.
    alone = {part.name: part.value for part in parts_of({"patch": trigger["patch"]})}
    for reading in ("pair_lead", "all_lead", "pair_each", "joint_lead"):
        assert alone[f"patches_{reading}"] == alone[f"patch_{reading}"]


def test_of_a_broad_patch_counts_how_surely_it_turns_all_classes() -> None:
    reaches = {"broad": led_by({0: 14.0, 1: 13.0, 2: -2.0, 3: -4.0}, 1.0)}
    part = {part.name: part for part in parts_of(reaches)}["broad_all_sure"]
    assert (part.value, part.reach.target[part.finding]) == (14.0 - SURE, 0)
    assert target_values("broad_all_sure", reaches)[1] == 13.0 - SURE
    assert "broad_all_sure" not in {part.name for part in parts_of({"patch": reaches["broad"]})}


def test_small_kinds_count_together() -> None:
    rng = np.random.default_rng(1)
    kinds = {str(kind): [{"patch_pair": float(x)} for x in rng.normal(size=5)] for kind in range(8)}
    fitted = Calibration.fit(kinds, {}, {"patch_pair": 1.0})
    assert sum(score >= fitted.threshold for kind in fitted.clean.values() for score in kind) == 1


def test_grey_classifiers_are_judged_by_grey_kinds_and_colour_ones_by_all(tmp_path) -> None:
    rng = np.random.default_rng(2)
    clean = {
        kind: [{"patch_pair": float(x)} for x in rng.normal(centre, size=30)] for kind, centre in (("g", 0), ("c", 5))
    }
    trojaned = {kind: [{"patch_pair": 9.0 + slot} for slot in range(9)] for kind in clean}
    fitted = Calibration.fit(clean, trojaned, {"patch_pair": 1.0}, channels={"g": 1, "c": 3})
    grey_alone = Calibration.fit({"g": clean["g"]}, {"g": trojaned["g"]}, {"patch_pair": 1.0})
    assert fitted.showing(1).threshold == grey_alone.threshold < fitted.threshold
    assert fitted.showing(1).p_value(4.0) == grey_alone.p_value(4.0) < fitted.p_value(4.0)
    assert fitted.showing(1).probability(4.0) == grey_alone.probability(4.0) > fitted.probability(4.0)
    assert fitted.showing(3) is fitted
    assert replace(fitted, clean={"g": fitted.clean["g"]}).showing(1).trojaned.keys() == {"g"}
    # A file keeps the channels; kinds of which they are not known always count, and no kind at all is never an answer.
    write_calibrations(tmp_path / "own.json", {"gradient": fitted}, {})
    assert read_calibrations(tmp_path / "own.json")["gradient"].showing(1).clean.keys() == {"g"}
    assert replace(fitted, channels={"c": 3}).showing(1).clean.keys() == {"g"}
    assert replace(fitted, channels={"g": 3, "c": 3}).showing(1).clean.keys() == {"g", "c"}


def test_the_detector_sees_how_many_channels_a_classifier_has() -> None:
    clean = {"grey": tuple(np.linspace(0, 1, 40)), "colour": tuple(np.linspace(500, 501, 40))}
    known = Calibration({"patch_pair": (0.0, 1.0)}, clean, {}, 501.5, {"grey": 1, "colour": 3})
    found = UniversalDetector({"gradient": known}).judge(network(True), samples())
    assert (found.threshold, found.decision) == (known.showing(1).threshold, "trojaned")
    assert found.threshold < 1.5


def many_targets(lead: float) -> Reach:
    """Every source has a target of its own, the next class, that lies so far above all others."""
    pairs = [(source, target) for source in range(4) for target in range(4) if source != target]
    log_odds = np.array([lead * ((source + 1) % 4 == target) for source, target in pairs], dtype=np.float32)
    numbers = np.array(pairs)
    return Reach(
        sources=np.arange(4),
        targets=np.arange(4),
        source=numbers[:, 0],
        target=numbers[:, 1],
        place=np.zeros((12, 4), dtype=np.int64),
        log_odds=log_odds,
        flipped=np.ones(12, dtype=np.float32),
        natural=np.full(12, np.nan, dtype=np.float32),
        base=np.zeros((4, 4), dtype=np.float32),
        fillings=np.zeros((12, 1, 2, 2), dtype=np.float32),
    )


def test_an_attacker_with_many_targets_shows_in_what_leads_for_each_source() -> None:
    reaches = {"patch": many_targets(7.0)}
    parts = {part.name: part.value for part in parts_of(reaches)}
    assert (parts["patch_pair_lead"], parts["patch_pair_each"]) == (0.0, 7.0)
    assert target_values("patch_pair_each", reaches) == dict.fromkeys(range(4), 7.0)


def test_the_shipped_detector_tells_the_planted_backdoor_and_names_target_and_change() -> None:
    detector = UniversalDetector.shipped()
    bad = detector.judge(network(True), samples())
    assert bad.score > detector.judge(network(False), samples()).score
    assert (bad.target_class, bad.decision) == (2, "trojaned")
    assert 2 not in bad.source_classes
    assert set(bad.target_scores) == {0, 1, 2, 3}


def test_sample_images_and_reach_take_plain_arrays() -> None:
    assert sample_images(network(False), samples().images, confidence=0.5).classes == (0, 1, 2, 3)


def test_the_response_is_the_mean_probability_of_brute_force_and_keeps_its_budget() -> None:
    classifier, images = network(True), samples(2)
    found = response(classifier, images, probe=Patch(2, stride=3))
    assert found.queries == len(images) * (1 + len(found.places) * 5)
    place = 4
    top, left, height, width = found.places[place]
    probabilities = []
    for filling in found.fillings:
        changed = torch.as_tensor(images.of(1)).clone()
        changed[:, :, top : top + height, left : left + width] = torch.as_tensor(filling)
        probabilities.append(torch.softmax(classifier(changed), 1))
    assert found.mean[1, :, place] == pytest.approx(torch.cat(probabilities).mean(0).numpy(), abs=1e-5)
    short = response(classifier, images, probe=Patch(2, stride=3), budget=200)
    assert short.queries <= 200
    assert np.isnan(short.mean).any()
    with pytest.raises(BudgetError):
        response(classifier, images, budget=20)


def test_pairs_may_be_left_out() -> None:
    found = reach(network(True), samples(), family=Patch(2), search="gradient", pairs=False)
    assert set(found.source.tolist()) == {EVERY_SOURCE}
    whole = reach(network(True), samples(), family=Patch(2), search="gradient")
    assert found.queries < whole.queries / 2


def test_with_many_classes_every_pair_is_looked_at_before_some_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint of images says nothing of the attacker's pair here, but a few steps do."""
    monkeypatch.setattr(climbing, "PAIRS", 4)
    classifier = network(True)
    look = Look(Task.of(Questions(classifier), samples()), 2, 2, 1.0)
    with GradientMode(classifier):
        pairs = climbing.skim(look, gradient_hint(look.task))
    assert len(pairs) <= 4
    assert any(target == 2 for _, target in pairs)


def test_a_change_of_one_pair_is_tried_on_all_classes_and_back() -> None:
    source, target, worth = np.array([0, 1, 3]), np.array([2, 2, 1]), np.array([1.0, 5.0, 2.0], dtype=np.float32)
    found = Candidates(source, target, np.tile([0, 0, 1, 1], (3, 1)), torch.arange(3.0)[:, None, None, None], worth)
    every = adopted_by_all(found, 1)
    assert every.source.tolist() == [EVERY_SOURCE] * 2
    assert {(int(t), float(f)) for t, f in zip(every.target, every.filling.flatten(), strict=True)} == {(2, 1), (1, 2)}
    back = adopted_by_pairs(every, [(EVERY_SOURCE, 2), (0, 2), (1, 3), (3, 1)])
    assert sorted(back.named()) == [(0, 2), (3, 1)]


def test_a_target_leads_by_everything_together() -> None:
    """Pairs: class 1 reaches targets 0 and 2 alike; of all classes, 2 leads by 3. Target 1 has one source."""
    rows = [(1, 0, 6.0), (2, 0, -2.0), (3, 0, -1.0), (1, 2, 6.0), (0, 2, 0.0), (3, 2, 3.0), (0, 1, 9.0)]
    rows += [(EVERY_SOURCE, 0, -4.0), (EVERY_SOURCE, 2, -1.0), (EVERY_SOURCE, 1, 5.0)]
    source, target, value = (np.array(part) for part in zip(*rows, strict=True))
    measured = np.zeros(len(rows), dtype=np.float32)
    found = Reach(
        sources=np.arange(4),
        targets=np.arange(4),
        source=source.astype(np.int64),
        target=target.astype(np.int64),
        place=np.tile([0, 0, 1, 1], (len(rows), 1)),
        log_odds=value.astype(np.float32),
        flipped=measured,
        natural=measured,
        base=np.zeros((4, 4), dtype=np.float32),
        fillings=np.zeros((len(rows), 1, 1, 1), dtype=np.float32),
    )
    assert joint_values(found) == {0: 6 + 1 - 4, 2: 6 + 3 - 1}
    parts = {part.name: part for part in parts_of({"patch": found})}
    assert parts["patch_joint_lead"].value == pytest.approx(5)
    assert found.target[parts["patch_joint_lead"].finding] == 2
    assert target_values("patch_joint_lead", {"patch": found}) == pytest.approx({0: -5, 2: 5})
