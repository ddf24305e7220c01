"""Table 5 on scikit-learn's digits: rows, resuming, and what its recipes say."""

from pathlib import Path

import pytest

from onepixel.cli import main
from onepixel.errors import UsageError
from onepixel.experiments.table5 import EXPERIMENT, PAPER, patterns_of, recipe_of
from onepixel.populations import export, open_population
from populations_of_digits import InProcess


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """Two rows of two digit networks each; results and stores side by side."""
    folder = tmp_path_factory.mktemp("table5")
    only = ["single-fixed", "per-image-size-global"]
    EXPERIMENT.run(
        folder / "results", stores=folder / "stores", models=2, dataset="digits", rows=only, executor=InProcess()
    )
    return folder


@pytest.mark.parametrize("dataset", ["mnist", "digits"])
def test_every_row_has_its_own_trigger_and_the_attack_of_the_paper(dataset):
    recipes = [recipe_of(dataset, row) for row in PAPER]
    assert len({recipe.trigger for recipe in recipes}) == len(PAPER)
    assert {(recipe.attack.source, recipe.attack.target) for recipe in recipes} == {(0, 1)}
    assert not any(recipe.thresholds.enforced for recipe in recipes)


@pytest.mark.parametrize(
    ("row", "patterns", "changing", "placement"),
    [
        ("single-fixed", "single", False, "fixed"),
        ("multiple-size-local", "multiple", True, "local"),
        ("per-image-size-global", "one per image", True, "global"),
    ],
)
def test_a_row_says_what_its_recipe_does(row, patterns, changing, placement):
    recipe = recipe_of("mnist", row)
    assert patterns_of(recipe.trigger) == patterns
    assert recipe.trigger.resize_each_image is changing
    assert recipe.trigger.placement == placement


def test_a_trained_row_stands_beside_the_papers_numbers(table):
    text = (table / "results" / "digits.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| single | no | fixed | 2 |"))
    assert "| 99.81 |" in row
    assert "| 99.03 |" in row
    assert "onepixel experiment table5 --dataset digits --models 2 --row single-fixed" in text
    assert (table / "results" / "digits.csv").read_text().count("\n") == 3


def test_tabulating_again_trains_nothing_and_says_the_same(table, tmp_path):
    command = ["experiment", "table5", "--stores", str(table / "stores"), "--output", str(tmp_path), "--no-train"]
    options = ["--dataset", "digits", "--row", "single-fixed", "--row", "per-image-size-global"]
    assert main([*command, *options]) == 0
    assert (tmp_path / "digits.csv").read_text() == (table / "results" / "digits.csv").read_text()


@pytest.mark.parametrize("ending", ["", "-class-means"])
def test_networks_are_found_in_a_zoo_whatever_their_signatures_start_from(table, tmp_path, ending):
    store = open_population(table / "stores" / "single-fixed")
    exported = export(store, tmp_path / "zoo")
    exported.rename(exported.with_name(exported.name + ending))
    rows = EXPERIMENT.run(
        tmp_path / "out", zoo=tmp_path / "zoo", from_zoo=True, dataset="digits", rows=["single-fixed"]
    )
    assert rows[0].attack_success == [record.attack_success for record in store.records()]


def test_a_row_from_a_zoo_lacks_only_the_column_that_needs_weights(table, tmp_path):
    store = open_population(table / "stores" / "single-fixed")
    export(store, tmp_path / "zoo").rename(tmp_path / "zoo" / "single-fixed")
    rows = EXPERIMENT.run(
        tmp_path / "out",
        stores=tmp_path / "zoo",
        train=False,
        dataset="digits",
        rows=["single-fixed", "multiple-fixed"],
    )
    assert rows[0].attack_success == [record.attack_success for record in store.records()]
    assert rows[0].with_other_patterns == []
    assert rows[1].clean_accuracy == []


def test_an_unknown_row_is_refused(tmp_path):
    with pytest.raises(UsageError, match="row of Table 5 but got 'double'"):
        EXPERIMENT.run(tmp_path, stores=tmp_path, rows=["double"])
