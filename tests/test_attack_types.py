"""The table of attack types, on a zoo of tiny digit populations: it must count right and say what is missing."""

import csv
from pathlib import Path

import pytest

from onepixel.cli import main
from onepixel.errors import UsageError
from onepixel.experiments.attack_types import ATTACKS, METHODS, Populations, run
from onepixel.populations import build, export, resign
from onepixel.trojan import BlendedTriggerRecipe
from populations_of_digits import InProcess, digits_recipe

PREFIX = "digits-tiny"


@pytest.fixture(scope="module")
def zoo(tmp_path_factory) -> Path:
    """Clean, vaccine, stamped and two attacks; clean, vaccine and one attack also from noise."""
    folder = tmp_path_factory.mktemp("zoo")
    for end, role, models, changes in (
        ("clean", "clean", 8, {}),
        ("vaccine", "trojaned", 4, {}),
        ("stamped-vaccine", "stamped", 3, {}),
        ("virus-development", "trojaned", 3, {"seed": 1}),
        ("attack-blended", "trojaned", 2, {"trigger": BlendedTriggerRecipe()}),
    ):
        recipe = digits_recipe(role, models, epochs=1, **changes).model_copy(update={"name": f"{PREFIX}-{end}"})
        store = build(recipe, folder / "stores" / end, executor=InProcess())
        export(store, folder)
        if end in ("clean", "vaccine", "virus-development"):
            resign(store, "noise 0", folder)
    return folder


@pytest.fixture(scope="module")
def table(zoo, tmp_path_factory):
    output = tmp_path_factory.mktemp("out")
    return run(output, zoo=zoo, prefix=PREFIX, seeds=2, epochs=1, folds=2), output


def test_every_method_judges_every_attack_that_is_there_with_every_seed(table):
    black = [row for row in table[0].rows if row.image == "black"]
    assert {(row.method, row.attack, row.seed) for row in black} == {
        (method, attack, seed)
        for method in METHODS
        for attack in ("virus-development", "attack-blended")
        for seed in (0, 1)
    }
    assert len(black) == 2 * 2 * len(METHODS)


def test_attacks_are_held_against_the_clean_models_that_no_detector_was_trained_on(table):
    for row in table[0].rows:
        assert row.result.clean == 4
        assert (
            row.result.trojaned == len(row.models.records) == {"virus-development": 3, "attack-blended": 2}[row.attack]
        )


def test_another_default_image_is_judged_by_a_detector_trained_on_it(table):
    noisy = [row for row in table[0].rows if row.image != "black"]
    assert {(row.image, row.attack) for row in noisy} == {("noise-0", "virus-development")}
    assert "| noise 0 | one to one, patches | 3 |" in (table[1] / f"{PREFIX}.md").read_text()


def test_what_is_missing_is_listed_with_the_commands_that_make_it(table, zoo):
    missing = {one.population: one.commands for one in table[0].missing}
    assert f"{PREFIX}-attack-blended" not in missing
    assert missing[f"{PREFIX}-attack-warped"] == (
        f"onepixel population build recipes/attacks/{PREFIX}-attack-warped.toml "
        f"--store populations/{PREFIX}-attack-warped",
        f"onepixel population export populations/{PREFIX}-attack-warped --zoo {zoo}",
    )
    assert missing[f"{PREFIX}-clean-image-0"] == (
        f'onepixel population resign populations/{PREFIX}-clean --default-image "image 0" --zoo {zoo}',
    )
    text = (table[1] / f"{PREFIX}.md").read_text()
    assert all(population in text for population in missing)


def test_the_csv_has_every_row_with_every_interval(table):
    with (table[1] / f"{PREFIX}.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(table[0].rows)
    for line in lines:
        assert float(line["auroc_low"]) <= float(line["auroc"]) <= float(line["auroc_high"])
        assert float(line["found_low"]) <= float(line["found"]) <= float(line["found_high"])


def test_the_command_writes_the_table_and_says_what_is_missing(zoo, tmp_path, capsys, monkeypatch):
    from onepixel.experiments import attack_types

    monkeypatch.setattr(attack_types, "METHODS", {"whole": attack_types.Method({"reading": "whole", "epochs": 1})})
    options = ["--from-zoo", str(zoo), "--prefix", PREFIX, "--seeds", "1", "--output", str(tmp_path / "out")]
    assert main(["experiment", "attacks", *options]) == 0
    assert f"{PREFIX}-attack-warped is missing: onepixel population build" in capsys.readouterr().err
    assert "onepixel experiment attacks --from-zoo" in (tmp_path / "out" / f"{PREFIX}.md").read_text()


def test_without_clean_models_there_is_no_table(tmp_path):
    with pytest.raises(UsageError, match="needs the populations digits-tiny-clean"):
        run(tmp_path / "out", zoo=tmp_path, prefix=PREFIX)


def test_every_attack_type_is_looked_for_under_its_own_name(tmp_path):
    populations = Populations(tmp_path, PREFIX)
    assert [populations.read(end) for end in ATTACKS] == [None] * len(ATTACKS)
    assert len(populations.missing) == len(ATTACKS)
