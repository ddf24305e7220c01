"""Experiments on records measure the networks of stores that have no row yet, one after the other, and then no more."""

from pathlib import Path

import numpy as np
import pytest

from onepixel.classifiers import Classifier
from onepixel.detectors.universal_calibration import read_calibrations
from onepixel.errors import UsageError
from onepixel.experiments import any_classifier, compare, method_records, reach_curves, reach_records, validate
from onepixel.experiments.leaving_out import PARTS
from onepixel.experiments.method_records import read_judgements
from onepixel.experiments.reach_curves import SETTINGS, Point, Setting, read_points
from onepixel.experiments.reach_records import Network, as_network, read_networks
from onepixel.methods import Needs, Score
from onepixel.populations import Store, build
from populations_of_digits import InProcess, digits_recipe

NAME = "digits-clean"


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> Path:
    """A folder with one store of three clean networks."""
    folder = tmp_path_factory.mktemp("stores")
    build(digits_recipe("clean", 3, epochs=0.1), folder / NAME, executor=InProcess())
    return folder


class Sure:
    """Finds everything suspicious, and counts what it was asked."""

    name, title, paper = "abs", "Sure", "nobody"
    needs = Needs(weights=False, images=2)

    def __init__(self) -> None:
        self.asked: list[str] = []

    def score(self, classifier: Classifier, images: np.ndarray, labels: np.ndarray) -> Score:
        self.asked.append(classifier.name)
        return Score(2.5, True, 3, (), 7)


@pytest.fixture
def way(monkeypatch) -> Sure:
    """The one method that there is."""
    sure = Sure()
    for module in (compare, validate):
        monkeypatch.setattr(module, "trained", lambda name, shadows: sure)
    monkeypatch.setattr(method_records, "_images", lambda store, classifier: (np.zeros((2, 1, 8, 8)), np.array([0, 1])))
    return sure


def network(store: Store, slot: int, search: str = "gradient") -> Network:
    parts = dict.fromkeys(read_calibrations()[search].parts, float(slot))
    about = ("digits", "clean", NAME, slot, (), search, 9, 1.0, 0.0)
    return Network(*about, named=dict.fromkeys(parts, 0), parts=parts)


def test_networks_of_stores_are_measured_once_and_a_calibration_is_made_of_the_rows(stores, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(reach_records, "measure_network", lambda *about: (asked.append(about[1:]), network(*about))[1])
    for _ in range(2):
        any_classifier.measure(stores, tmp_path / "gradient", "gradient")
    assert asked == [(slot, "gradient") for slot in range(3)]
    assert [one.slot for one in read_networks(tmp_path / "gradient" / f"{NAME}.csv")] == [0, 1, 2]
    any_classifier.write_calibration(tmp_path / "made.json", tmp_path)
    made = read_calibrations(tmp_path / "made.json")
    assert set(made) == {"gradient"}
    assert len(made["gradient"].clean["digits"]) == 3


def test_a_comparison_judges_the_populations_and_methods_that_it_is_told(stores, tmp_path, way):
    said = {"stores": stores, "scores": tmp_path, "method": ("abs",), "most": 2}
    compare.judge(compare.Options(**said, population=("another",)))
    assert way.asked == []
    for _ in range(2):
        compare.judge(compare.Options(**said, population=(NAME,)))
    assert len(way.asked) == 2
    rows = read_judgements(tmp_path / "abs" / f"{NAME}.csv")
    assert [(row.slot, row.flagged, row.target, row.score) for row in rows] == [(0, True, 3, 2.5), (1, True, 3, 2.5)]


def test_a_validation_judges_the_stores_of_its_ground(stores, tmp_path, way):
    ground = validate.Ground("abs", "digits", "nothing", (NAME, "not-there"), ())
    validate.judge(ground, stores, tmp_path, None)
    assert [row.slot for row in read_judgements(tmp_path / "abs" / f"{NAME}.csv")] == [0, 1, 2]


def test_curves_measure_each_chosen_network_in_each_setting_once(stores, tmp_path, monkeypatch):
    asked = []

    def point_of(store: Store, slot: int, setting: Setting) -> Point:
        asked.append((slot, setting.curve))
        return Point(setting.curve, setting.value, as_network(store, slot, {}))

    monkeypatch.setattr(reach_curves, "SETTINGS", SETTINGS[:2])
    monkeypatch.setattr(reach_curves, "NETWORKS", {NAME: 2})
    monkeypatch.setattr(reach_curves, "point_of", point_of)
    for _ in range(2):
        reach_curves.measure(stores, tmp_path / "points.csv")
    assert asked == [(slot, setting.curve) for setting in SETTINGS[:2] for slot in (0, 1)]
    points = read_points(tmp_path / "points.csv")
    assert [point.network.slot for point in points] == [0, 1, 0, 1]
    assert all(not point.network.parts for point in points)


def test_curves_are_measured_on_images_of_the_source_that_a_setting_names(stores):
    store = Store.open(stores / NAME)
    test, train = (reach_curves.offered(store, source) for source in ("test", "train"))
    assert test.shape[1:] == train.shape[1:] == (1, 8, 8)
    assert len(test) != len(train)


def test_a_file_gets_columns_for_what_only_a_new_row_has(tmp_path):
    older = tmp_path / "older.csv"
    one = network(None, 0)  # type: ignore[arg-type]
    known = Network(**{**vars(one), "parts": {PARTS[0]: 1.5}, "named": {PARTS[0]: 4}})
    for found in (known, one):
        reach_records.append_network(older, found)
    first, second = read_networks(older)
    assert first.parts == {PARTS[0]: 1.5}
    assert (second.parts, second.named) == (one.parts, one.named)


def test_a_row_without_parts_that_its_file_has_is_refused(tmp_path):
    file = tmp_path / "networks.csv"
    one = network(None, 0)  # type: ignore[arg-type]
    reach_records.append_network(file, one)
    before = file.read_text()
    fewer = Network(**{**vars(one), "parts": {PARTS[0]: 1.5}, "named": {PARTS[0]: 4}})
    with pytest.raises(UsageError, match="of every network, which network 0 of"):
        reach_records.append_network(file, fewer)
    assert file.read_text() == before
