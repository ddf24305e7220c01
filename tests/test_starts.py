"""What signatures start from: the same networks, signed in several ways, must be compared on the same slots."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onepixel.cli import main
from onepixel.errors import UsageError
from onepixel.experiments import choices, starts
from onepixel.experiments.choices import Method
from onepixel.experiments.starts import job_of, load_way, on_common_slots
from onepixel.populations.models import commands_for
from onepixel.populations.names import STARTS, Start
from planted_zoo import NETWORKS, PREFIX, QUICK, choose, make_zoo

NAMES = {
    f"{PREFIX}-{kind}{ending}": (role, models + more, seed)
    for ending, more in (("", 0), ("-noise-0", 2), ("-class-means-8", 1))
    for kind, role, models, seed in (
        ("clean", "clean", 9, 0),
        ("vaccine", "trojaned", 6, 0),
        ("virus-development", "trojaned", 4, 1),
    )
    if (kind, ending) != ("vaccine", "-class-means-8")
}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory) -> Path:
    return make_zoo(tmp_path_factory.mktemp("populations") / "planted", NAMES)


def slots(models) -> list[int]:
    return [record.slot for record in models.records]


def test_every_way_has_the_same_slots_and_its_own_signatures(zoo):
    signed = [replace(NETWORKS, start=STARTS[ending]) for ending in ("", "-noise-0")]
    black, noise = on_common_slots([load_way(zoo, networks) for networks in signed])
    for kind, count in (("clean", 9), ("vaccine", 6), ("virus-development", 4)):
        assert slots(black.models[kind]) == slots(noise.models[kind]) == list(range(count))
        assert not np.array_equal(black.models[kind].rows["high"], noise.models[kind].rows["high"])
    assert black.queries == black.settings.values * 8 * 8


def test_half_of_the_clean_models_train_and_the_other_half_tests(zoo):
    way = load_way(zoo, NETWORKS)
    first, second = (job_of(way, Method("quick", QUICK), half, 0) for half in (0, 1))
    assert slots(first.training.clean) == slots(second.tests["clean"]) == [0, 2, 4, 6, 8]
    assert slots(first.tests["clean"]) == slots(second.training.clean) == [1, 3, 5, 7]
    assert slots(first.training.vaccine) == list(range(6))


def test_the_table_has_a_line_per_detector_and_way(zoo, tmp_path, monkeypatch):
    monkeypatch.setattr(choices, "LITERAL", {"stand-in": QUICK})
    choice = str(choose(tmp_path, zoo))
    command = ["experiment", "starts", "--zoo", str(zoo), "--prefix", PREFIX, "--choice", choice]
    assert main([*command, "--seeds", "2", "--workers", "1", "--output", str(tmp_path / "out")]) == 0
    with (tmp_path / "out" / f"{PREFIX}.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * 2 * 2 * 2, "detectors, ways, halves, seeds"
    assert {line["start"] for line in lines} == {"black", "noise 0"}
    text = (tmp_path / "out" / f"{PREFIX}.md").read_text()
    assert text.count("\n| ") == 1 + 1 + 2 * 2
    assert "| black | 8 | 512 |" in text
    assert "9 clean, 6 vaccine" in text


def test_one_way_is_none_to_compare_with(tmp_path):
    with pytest.raises(UsageError, match=r"signed in 0 way\(s\)"):
        starts.EXPERIMENT.run(tmp_path, zoo=tmp_path, prefix=PREFIX)


def test_a_way_with_its_own_grid_is_made_by_a_command_that_says_its_name():
    assert Start.called("class means, 8 values") == STARTS["-class-means-8"]
    assert commands_for(Path("zoo"), "mnist-vgg10-clean-class-means-8") == (
        'onepixel population resign populations/mnist-vgg10-clean --default-image "class means" --values 8 '
        "--name mnist-vgg10-clean-class-means-8 --zoo zoo",
    )
    assert commands_for(Path("zoo"), "mnist-lenet5-clean-noise-0") == (
        'onepixel population resign populations/mnist-lenet5-clean --default-image "noise 0" --values 32 --zoo zoo',
    )
    assert commands_for(Path("zoo"), "mnist-lenet5-attack-expects-class-means") == (
        "onepixel population build mnist-lenet5-attack-expects-class-means "
        "--store populations/mnist-lenet5-attack-expects-class-means",
        "onepixel population export populations/mnist-lenet5-attack-expects-class-means --zoo zoo",
    )
    assert commands_for(Path("zoo"), "mnist-vgg10-clean-class-means") == (
        'onepixel population resign populations/mnist-vgg10-clean --default-image "class means" --values 32 --zoo zoo',
    )
