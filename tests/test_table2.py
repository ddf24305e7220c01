"""Table 2's machinery, on a zoo of tiny digit populations: it must count right, whatever the numbers are."""

import csv

import numpy as np
import pytest

from onepixel.experiments.table2 import BASELINES, baseline_row, detector_row, load_split, rows_of_table, run
from onepixel.populations import build, export
from populations_of_digits import InProcess, digits_recipe


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    for name, role, seed in (
        ("clean", "clean", 0),
        ("vaccine", "trojaned", 0),
        ("virus-development", "trojaned", 1),
        ("stamped-vaccine", "stamped", 0),
    ):
        recipe = digits_recipe(role, 10 if name == "clean" else 4, epochs=2, seed=seed)
        recipe = recipe.model_copy(update={"name": f"digits-tiny-{name}"})
        export(build(recipe, folder / "stores" / name, executor=InProcess()), folder)
    return folder


def test_the_clean_population_is_split_by_slots_and_nothing_is_on_both_sides(zoo):
    split = load_split(zoo, "digits-tiny", "development")
    trained = {record.slot for record in split.clean.records}
    tested = {record.slot for record in split.unseen_clean.records}
    assert trained == set(range(5))
    assert tested == {5, 6, 7, 8, 9}


def test_scores_of_the_test_part_do_not_depend_on_what_else_is_tested(zoo):
    from dataclasses import replace

    split = load_split(zoo, "digits-tiny", "development")
    options = {"epochs": 2, "folds": 2}
    whole = detector_row(split, "multiple instances", "change", 0, **options)
    fewer = detector_row(replace(split, virus=split.virus.part(0, 2)), "multiple instances", "change", 0, **options)
    assert whole.result.false_positive_rate == fewer.result.false_positive_rate
    assert whole.stamped_flagged == fewer.stamped_flagged


def test_a_baseline_that_is_told_the_truth_is_perfect(zoo):
    split = load_split(zoo, "digits-tiny", "development")
    trojaned = {record.seed for record in (*split.vaccine.records, *split.virus.records)}
    row = baseline_row(split, "oracle", lambda models: np.array([[float(r.seed in trojaned)] for r in models.records]))
    assert row.result.detection_rate.value == 1
    assert row.stamped_flagged is not None
    assert row.stamped_flagged.value == 0


def test_the_table_has_a_row_for_every_method_definition_and_seed(zoo):
    split = load_split(zoo, "digits-tiny", "development")
    rows = list(rows_of_table(split, range(1), epochs=1, folds=2))
    assert len(rows) == len(BASELINES) + 4 * 5
    assert len({(row.method, row.definition) for row in rows}) == len(rows)


@pytest.mark.slow
def test_run_writes_a_table_for_people_and_one_for_machines(zoo, tmp_path, monkeypatch):
    from onepixel.experiments import table2

    monkeypatch.setattr(table2, "READINGS", {"whole": {"reading": "whole"}})
    run(tmp_path / "out", zoo=zoo, prefix="digits-tiny", seeds=1)
    text = (tmp_path / "out" / "digits-tiny-development.md").read_text()
    assert "5 clean and 4 vaccine models" in text
    assert "onepixel experiment table2 --prefix digits-tiny" in text
    with (tmp_path / "out" / "digits-tiny-development.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(BASELINES) + 5
