"""What moves the detection rate: groups must be split right and judged by the same detectors."""

import csv
from pathlib import Path
from unittest.mock import Mock

import pytest

from onepixel.errors import UsageError
from onepixel.experiments import choices, sensitivity
from onepixel.experiments.sensitivity import EXPERIMENT, VARIANTS, groups
from onepixel.populations import PopulationName, known_populations, known_recipe, open_population
from onepixel.populations.models import Models, each_read_once, load_models
from planted_zoo import DEVELOPMENT, NETWORKS, PREFIX, QUICK, choose, make_zoo

POPULATIONS = {
    **DEVELOPMENT,
    f"{PREFIX}-sensitivity-epochs-1": ("trojaned", 3, 4),
}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory) -> Path:
    return make_zoo(tmp_path_factory.mktemp("populations") / "planted", POPULATIONS)


def numbered(models: Models) -> None:
    """Give models patterns of growing size, one or two of them."""
    for number, record in enumerate(models.records):
        record.trigger["sizes"] = [[1, 1 + number]] * (1 + number % 2)


def test_within_each_read_once_a_population_is_read_from_the_zoo_once(zoo, monkeypatch):
    name, read = f"{PREFIX}-clean", Mock(wraps=open_population)
    monkeypatch.setattr("onepixel.populations.models.open_population", read)
    with each_read_once():
        first, again = load_models(zoo, name), load_models(zoo, name)
        assert again[0] is first[0]
        assert read.call_count == 1
    load_models(zoo, name)
    assert read.call_count == 2


def test_viruses_are_split_by_size_and_number_of_patterns_and_none_is_lost(zoo):
    name = f"{PREFIX}-virus-development"
    virus, settings = load_models(zoo, name)
    numbered(virus)
    found = list(groups(zoo, open_population(zoo / name).recipe, virus, settings, NETWORKS))
    by_factor: dict[str, list[Models]] = {}
    for group in found:
        by_factor.setdefault(group.factor, []).append(group.models)
    assert found[0].level == "150 poisoned images, 4 epochs"
    assert len(by_factor["development viruses"][0]) == 5
    areas = by_factor["mean area of a pattern, pixels"]
    assert [[record.slot for record in models.records] for models in areas] == [[0, 1], [2], [3, 4]]
    assert [len(models) for models in by_factor["patterns"]] == [3, 2]
    assert [(group.level, len(group.models)) for group in found if group.factor == "epochs"] == [("1", 3)]


def test_placement_is_of_the_same_architecture_and_of_patches_that_change_their_size():
    lenet5 = known_recipe("mnist-lenet5-virus-development")
    placed = sensitivity.names_of(lenet5, PopulationName.parse("mnist-lenet5-clean-class-means"))["placement (Table 5)"]
    assert len(placed) == 9
    assert ("local", "mnist-table5-multiple-size-local-class-means") in [(level, str(name)) for level, name in placed]
    assert not any("single-fixed" in str(name) for _, name in placed)
    vgg10 = known_recipe("mnist-vgg10-virus-development")
    assert set(sensitivity.names_of(vgg10, PopulationName.parse("mnist-vgg10"))) == {
        "poisoned images",
        "epochs",
        "contrast",
    }


def test_the_table_has_a_line_per_group_for_every_detector_and_seed(zoo, tmp_path, monkeypatch):
    load = sensitivity.load_unseen

    def with_sizes(*asked):
        unseen = load(*asked)
        numbered(unseen.virus)
        return unseen

    monkeypatch.setattr(sensitivity, "load_unseen", with_sizes)
    monkeypatch.setattr(choices, "LITERAL", {"stand-in": QUICK})
    rows = EXPERIMENT.run(tmp_path / "out", zoo=zoo, prefix=PREFIX, choice=choose(tmp_path, zoo), seeds=2, workers=1)
    number = len({(row.group.factor, row.group.level) for row in rows})
    assert number == 1 + 3 + 2 + 1, "all, by size, by number of patterns, by epochs"
    assert len(rows) == 2 * 2 * number
    assert {row.result.clean for row in rows} == {6}
    assert all(row.result.trojaned == len(row.group.models) for row in rows)
    with (tmp_path / "out" / f"{PREFIX}.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(rows)
    text = (tmp_path / "out" / f"{PREFIX}.md").read_text()
    assert f"onepixel experiment sensitivity --prefix {PREFIX}" in text
    assert text.count("\n| ") == number + 2
    assert "population build digits-tiny-sensitivity-poison-1000 " in text


def test_without_development_viruses_or_clean_models_to_test_there_is_no_table(tmp_path, zoo):
    choice = choose(tmp_path, zoo)
    alone = make_zoo(tmp_path / "alone", {name: POPULATIONS[name] for name in list(DEVELOPMENT)[:2]})
    with pytest.raises(UsageError, match="virus-development"):
        EXPERIMENT.run(tmp_path / "out", zoo=alone, prefix=PREFIX, choice=choice)
    with pytest.raises(UsageError, match="none is left to test"):
        EXPERIMENT.run(tmp_path / "out", zoo=zoo, prefix=PREFIX, choice=choice, training_clean=12)


def test_every_variant_has_a_recipe_that_differs_from_the_reference_in_what_it_says_and_in_thresholds():
    reference = known_recipe("mnist-lenet5-virus-development")
    found = {name: known_recipe(name) for name in known_populations() if "-sensitivity-" in name}
    assert set(found) == {f"mnist-lenet5-{end}" for end in VARIANTS}
    for end, (factor, level) in VARIANTS.items():
        recipe = found[f"mnist-lenet5-{end}"]
        assert recipe.name == f"mnist-lenet5-{end}"
        assert not recipe.thresholds.enforced
        asked = float(level.removesuffix(" %").replace(",", ""))
        part, update = {
            "epochs": ("training", {"epochs": asked}),
            "poisoned images": ("attack", {"poisoned_images": int(asked)}),
            "contrast": ("trigger", {"contrast": (asked / 100, asked / 100)}),
        }[factor]
        changed = {part: getattr(reference, part).model_copy(update=update)}
        kept = {"name": recipe.name, "models": recipe.models, "thresholds": recipe.thresholds}
        assert recipe == reference.model_copy(update=changed | kept)
