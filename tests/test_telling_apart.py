"""Architectures and data sets told apart by signatures: the splits, the control, and the pages."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from onepixel.cli import main
from onepixel.errors import UsageError
from onepixel.experiments import architecture, dataset, telling_apart
from onepixel.experiments.telling_apart import OURS, PAPER, Job, Told, tell
from onepixel.populations.store import row_type
from planted_zoo import H, K, W, make_zoo


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(telling_apart, "DESCENT", replace(telling_apart.DESCENT, epochs=6))


SIZES = {"LeNet-5": 4, "ResNet-8": 3, "VGG-10": 3}


def planted(rng, number, shape_of) -> np.ndarray:
    rows = np.zeros(number, row_type(K, H, W))
    rise = np.abs(rng.normal(0, 0.3, (number, K, H, W))) + shape_of
    rows["high"], rows["low"] = rise, -rise
    return rows


def two_groups(rng) -> dict[str, np.ndarray]:
    """Left half high, or right half high, equally strong."""
    left = np.zeros((H, W))
    left[:, : W // 2] = 3
    return {"left": planted(rng, 20, left), "right": planted(rng, 20, left[:, ::-1])}


def test_structure_is_told_apart_and_permuted_groups_are_not():
    groups = two_groups(np.random.default_rng(0))
    rights = {way: tell(Job("which half", groups, way, 0)).share.value for way in telling_apart.WAYS}
    assert rights[OURS] == rights[f"{OURS}, each standardised"] == 1
    assert rights[f"{OURS}, permuted groups"] < 0.8
    assert rights["scale of the signature alone"] < 0.8
    assert rights["log-odds of the default image alone"] < 0.8


def test_scale_alone_tells_no_more_where_each_signature_is_standardised():
    rng = np.random.default_rng(1)
    weak = planted(rng, 20, 0.0)
    strong = planted(rng, 20, 0.0)
    for name in ("high", "low"):
        strong[name] *= 5
    told = {
        way: tell(Job("how strong", {"weak": weak, "strong": strong}, way, 0)).share.value for way in telling_apart.WAYS
    }
    assert told["scale of the signature alone"] == told[OURS] == 1
    assert told[f"{OURS}, each standardised"] < 0.8


def test_every_network_is_tested_once_by_what_did_not_see_it():
    told = tell(Job("which half", two_groups(np.random.default_rng(0)), PAPER, 3))
    assert sorted(np.bincount(told.folds)) == [8] * 5
    assert all(np.bincount(told.truth[told.folds == fold]).tolist() == [4, 4] for fold in range(5))


def test_the_mean_over_groups_counts_a_small_group_as_much_as_a_large_one():
    truth, said = np.array([0] * 8 + [1] * 2), np.array([0] * 8 + [1, 0])
    told = Told("", "", ("large", "small"), truth, said, np.arange(10) % 5)
    assert told.share.value == 0.9
    assert told.balanced == 0.75


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    cells = {("mnist", "lenet5"): 10, ("mnist", "alexnet"): 10, ("fashion", "lenet5"): 12, ("fashion", "resnet8"): 4}
    names = {f"{data}-{net}-clean": ("clean", models, 0) for (data, net), models in cells.items()}
    return make_zoo(tmp_path_factory.mktemp("cells") / "planted", names)


def test_the_page_about_architectures_names_cells_that_are_missing_or_too_small(zoo, tmp_path, capsys):
    assert main(["experiment", "architecture", "--zoo", str(zoo), "--workers", "1", "--output", str(tmp_path)]) == 0
    with (tmp_path / "architecture.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {line["question"] for line in lines} == {"MNIST"}
    assert len(lines) == len(telling_apart.WAYS)
    page = (tmp_path / "architecture.md").read_text()
    assert "10 + 10" in page
    assert "- fashion-resnet8-clean: `onepixel population build fashion-resnet8-clean" in page


def test_the_page_about_data_sets_has_a_row_per_architecture_and_way(zoo, tmp_path):
    assert main(["experiment", "dataset", "--zoo", str(zoo), "--workers", "1", "--output", str(tmp_path)]) == 0
    with (tmp_path / "dataset.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["question"] for line in lines] == ["LeNet-5"] * len(telling_apart.WAYS)
    assert lines[0]["paper"] == "98.74 ± 2.85 %"
    assert (tmp_path / "dataset.md").read_text().count("| LeNet-5 |") == len(telling_apart.WAYS)


def test_data_sets_are_asked_of_the_architectures_that_the_paper_mixes_and_of_all_together():
    rng = np.random.default_rng(0)
    cells = {
        name: {data: planted(rng, size, 0.0) for data in ("MNIST", "Fashion-MNIST")} for name, size in SIZES.items()
    }
    sizes = {name: [len(group) for group in groups.values()] for name, groups in dataset.questions(cells).items()}
    assert sizes == {**{name: [size] * 2 for name, size in SIZES.items()}, "mixed": [7] * 2, "all together": [10] * 2}
    assert "mixed" not in dataset.questions({name: cells[name] for name in ("LeNet-5", "VGG-10")})
    assert dataset.questions({"LeNet-5": cells["LeNet-5"]}).keys() == {"LeNet-5"}


def test_one_architecture_or_data_set_is_none_to_tell_apart(tmp_path):
    with pytest.raises(UsageError, match="It takes two architectures"):
        architecture.EXPERIMENT.run(tmp_path, zoo=tmp_path)
    with pytest.raises(UsageError, match="It takes networks of two data sets"):
        dataset.EXPERIMENT.run(tmp_path, zoo=tmp_path)
