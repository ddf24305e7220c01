"""The table of attack types, on planted signatures: it must count right, look away, and say what is missing."""

import csv
from pathlib import Path

import pytest

from onepixel.cli import main
from onepixel.errors import UsageError
from onepixel.experiments import attack_types, choices
from onepixel.experiments.attack_types import ATTACKS, EXPERIMENT, load_attacks, missing_populations
from onepixel.experiments.choices import read_choice, usual_choice
from onepixel.populations import SignatureRecipe
from onepixel.populations.models import commands_for
from planted_zoo import DEVELOPMENT, NETWORKS, PREFIX, QUICK, choose, make_population, make_zoo

ELSEWHERE = {
    f"{name}-{image}": DEVELOPMENT[name] for name in list(DEVELOPMENT)[:3] for image in ("noise-0", "class-means")
}
BLENDED = {f"{PREFIX}-attack-blended{ending}": ("trojaned", 2, 3) for ending in ("", "-class-means")}
POPULATIONS = {**DEVELOPMENT, **BLENDED, **ELSEWHERE}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory) -> Path:
    return make_zoo(tmp_path_factory.mktemp("populations") / "planted", POPULATIONS)


@pytest.fixture(scope="module")
def choice(zoo, tmp_path_factory) -> Path:
    return choose(tmp_path_factory.mktemp("choice"), zoo)


@pytest.fixture(scope="module", autouse=True)
def cheap():
    """The papers' CNN takes seconds for each row, a cheap detector stands in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choices, "LITERAL", {"whole": QUICK, "between": QUICK, "channels": QUICK})
        yield


@pytest.fixture(scope="module")
def table(zoo, choice, tmp_path_factory):
    output = tmp_path_factory.mktemp("out")
    return EXPERIMENT.run(output, zoo=zoo, prefix=PREFIX, choice=choice, seeds=2, workers=1), output


def test_every_method_judges_every_attack_that_is_there_with_every_seed(table):
    black = [row for row in table[0] if str(row.start) == "black"]
    assert [name.split(":")[0] for name in dict.fromkeys(row.method.name for row in black)] == [
        "whole",
        "channels",
        "chosen",
        "chosen",
    ]
    assert len({(row.method.name, row.attack, row.seed) for row in black}) == len(black) == 4 * 2 * 2
    assert {row.attack for row in black} == {"virus-development", "attack-blended"}


def test_attacks_are_held_against_the_clean_models_that_no_detector_was_trained_on(table):
    for row in table[0]:
        assert row.result.clean == 6
        assert row.result.trojaned == {"virus-development": 5, "attack-blended": 2}[row.attack]


def test_an_attack_is_judged_alike_whatever_else_is_in_the_zoo(table, zoo, choice, tmp_path, monkeypatch):
    monkeypatch.setattr(attack_types, "ATTACKS", {"attack-blended": "blended"})
    monkeypatch.setattr(attack_types, "HIDING", ())
    alone = EXPERIMENT.run(tmp_path, zoo=zoo, prefix=PREFIX, choice=choice, seeds=1, workers=1)
    together = [row for row in table[0] if (str(row.start), row.attack, row.seed) == ("black", "attack-blended", 0)]
    assert [row.result for row in alone if str(row.start) == "black"] == [row.result for row in together]


def test_another_default_image_is_judged_by_a_detector_trained_on_it(table):
    elsewhere = [row for row in table[0] if str(row.start) == "noise 0"]
    assert {row.attack for row in elsewhere} == {"virus-development"}
    assert len({row.method.name for row in elsewhere}) == 1
    text = (table[1] / f"{PREFIX}.md").read_text()
    assert "| noise 0 | chosen: " in text
    assert "| black | chosen: " in text


def test_from_class_means_every_attack_is_looked_at_by_every_detector(table):
    means = [row for row in table[0] if str(row.start) == "class means"]
    assert {row.attack for row in means} == {"virus-development", "attack-blended"}
    assert len({row.method.name for row in means}) == 3
    assert "## Signatures from class means" in (table[1] / f"{PREFIX}.md").read_text()


def test_one_choice_is_used_under_every_default_image_the_one_from_class_means_where_there_is_one(zoo, tmp_path):
    choose(tmp_path, zoo)
    black = usual_choice(NETWORKS, tmp_path)
    assert black == tmp_path / f"{PREFIX}.csv"
    other = black.read_text().replace("quick", "swift").replace("other", "swift")
    (tmp_path / f"{PREFIX}-class-means.csv").write_text(other)
    means = usual_choice(NETWORKS, tmp_path)
    assert read_choice(means, NETWORKS).name == "chosen: swift"
    EXPERIMENT.run(tmp_path / "out", zoo=zoo, prefix=PREFIX, choice=means, seeds=1, workers=1)
    text = (tmp_path / "out" / f"{PREFIX}.md").read_text()
    assert f"--choice {means}" in text
    assert "| noise 0 | chosen: swift" in text


def test_what_is_missing_is_listed_with_the_commands_that_make_it(table, zoo):
    missing = {str(name): commands_for(zoo, name) for name in missing_populations(zoo, NETWORKS)}
    assert f"{PREFIX}-attack-blended" not in missing
    assert missing[f"{PREFIX}-attack-warped"] == (
        f"onepixel population build {PREFIX}-attack-warped --store populations/{PREFIX}-attack-warped",
        f"onepixel population export populations/{PREFIX}-attack-warped --zoo {zoo}",
    )
    assert missing[f"{PREFIX}-clean-image-0"] == (
        f'onepixel population resign populations/{PREFIX}-clean --default-image "image 0" --zoo {zoo}',
    )
    text = (table[1] / f"{PREFIX}.md").read_text()
    assert all(population in text for population in missing)


def test_in_an_empty_zoo_every_attack_is_missing_under_its_own_name(tmp_path):
    missing = [str(name) for name in missing_populations(tmp_path, NETWORKS)]
    assert missing[: len(ATTACKS)] == [f"{PREFIX}-{attack}" for attack in ATTACKS]
    assert len(set(missing)) == len(missing)


def test_the_csv_has_every_row_with_every_interval(table):
    with (table[1] / f"{PREFIX}.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(table[0])
    for line in lines:
        rates = ("detection_rate", "auroc", "cross_entropy", "found", "false_alarms")
        for name in ("attack_success", "clean_accuracy", *rates):
            assert float(line[f"{name}_low"]) <= float(line[name]) <= float(line[f"{name}_high"])


def test_the_command_writes_the_table_and_says_what_is_missing(zoo, choice, tmp_path, capsys):
    options = ["--from-zoo", "--zoo", str(zoo), "--prefix", PREFIX, "--choice", str(choice), "--workers", "1"]
    assert main(["experiment", "attacks", *options, "--seeds", "1", "--output", str(tmp_path / "out")]) == 0
    assert f"{PREFIX}-attack-warped is missing: onepixel population build" in capsys.readouterr().err
    assert "onepixel experiment attacks --prefix" in (tmp_path / "out" / f"{PREFIX}.md").read_text()


def test_an_attack_that_was_signed_with_other_settings_is_refused(zoo):
    settings = SignatureRecipe(values=4)
    from onepixel.populations.recipe import settings_of

    with pytest.raises(UsageError, match="was signed with"):
        load_attacks(zoo, NETWORKS, settings_of(settings, 0.0))


def test_without_clean_models_or_any_attack_there_is_no_table(choice, tmp_path):
    with pytest.raises(UsageError, match="has no digits-tiny-clean, digits-tiny-vaccine"):
        EXPERIMENT.run(tmp_path / "out", zoo=tmp_path, prefix=PREFIX, choice=choice)
    for name in list(DEVELOPMENT)[:2]:
        make_population(tmp_path, name, DEVELOPMENT[name])
    with pytest.raises(UsageError, match="no population of an attack"):
        EXPERIMENT.run(tmp_path / "out", zoo=tmp_path / "zoo", prefix=PREFIX, choice=choice)
