"""What moves the detection rate: groups must be split right and judged by the same detectors."""

import csv
from pathlib import Path

import numpy as np
import pytest

from onepixel.errors import UsageError
from onepixel.experiments import sensitivity
from onepixel.experiments.models import Models
from onepixel.experiments.sensitivity import VARIANTS, groups, run
from onepixel.populations import Recipe
from planted_zoo import DEVELOPMENT, PREFIX, QUICK, choose, make_zoo

RECIPES = Path(__file__).parent.parent / "recipes"
POPULATIONS = {
    **DEVELOPMENT,
    f"{PREFIX}-epochs-1": ("trojaned", 3, 4),
    "digits-table5-single-fixed": ("trojaned", 2, 5),
    "digits-table5-multiple-fixed": ("trojaned", 2, 6),
    "digits-table5-single-size-local": ("trojaned", 1, 7),
}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory) -> Path:
    return make_zoo(tmp_path_factory.mktemp("populations") / "planted", POPULATIONS)


def numbered(zoo: Path, monkeypatch) -> None:
    """Give the models of every population patterns of growing size, one or two of them."""
    load = sensitivity.load_models

    def with_sizes(folder, name):
        models, settings = load(folder, name)
        for number, record in enumerate(models.records):
            record.trigger["sizes"] = [[1, 1 + number]] * (1 + number % 2)
        return models, settings

    monkeypatch.setattr(sensitivity, "load_models", with_sizes)


def test_viruses_are_split_by_size_and_number_of_patterns_and_none_is_lost(zoo, monkeypatch):
    numbered(zoo, monkeypatch)
    found = list(groups(zoo, PREFIX))
    by_factor: dict[str, list[Models]] = {}
    for group in found:
        by_factor.setdefault(group.factor, []).append(group.models)
    assert len(by_factor["all development viruses"][0]) == 5
    areas = by_factor["mean area of a pattern, pixels"]
    assert sorted(record.slot for models in areas for record in models.records) == [0, 1, 2, 3, 4]
    assert [sensitivity.trigger_area(models).max() for models in areas] == sorted(
        sensitivity.trigger_area(models).max() for models in areas
    )
    assert [len(models) for models in by_factor["patterns"]] == [3, 2]
    placements = {group.level: len(group.models) for group in found if group.factor.startswith("placement")}
    assert placements == {"fixed": 4, "local": 1}
    assert [(group.level, len(group.models)) for group in found if group.factor == "epochs"] == [("1", 3)]


def test_the_table_has_a_line_per_group_for_every_detector_and_seed(zoo, tmp_path, monkeypatch):
    numbered(zoo, monkeypatch)
    monkeypatch.setattr(sensitivity, "LITERAL", {"stand-in": QUICK})
    rows = run(tmp_path / "out", zoo=zoo, prefix=PREFIX, choice=choose(tmp_path, zoo), seeds=2, workers=1)
    number = len(list(groups(zoo, PREFIX)))
    assert len(rows) == 2 * 2 * number
    assert {row.result.clean for row in rows} == {6}
    with (tmp_path / "out" / f"{PREFIX}.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(rows)
    text = (tmp_path / "out" / f"{PREFIX}.md").read_text()
    assert f"onepixel experiment sensitivity --prefix {PREFIX}" in text
    assert text.count("\n| ") == number + 2


def test_without_development_viruses_there_is_no_table(tmp_path, zoo):
    choice = choose(tmp_path, zoo)
    alone = make_zoo(tmp_path / "alone", {name: POPULATIONS[name] for name in list(DEVELOPMENT)[:2]})
    with pytest.raises(UsageError, match="virus-development"):
        run(tmp_path / "out", zoo=alone, prefix=PREFIX, choice=choice)


def test_every_variant_has_a_recipe_that_differs_from_the_reference_in_what_it_says():
    reference = Recipe.load(RECIPES / "mnist-lenet5-virus-development.toml")
    found = {path.stem: Recipe.load(path) for path in (RECIPES / "sensitivity").glob("*.toml")}
    assert set(found) == {f"mnist-lenet5-{end}" for end in VARIANTS}
    for end, (factor, level) in VARIANTS.items():
        recipe = found[f"mnist-lenet5-{end}"]
        assert recipe.name == f"mnist-lenet5-{end}"
        asked = float(level.replace(",", ""))
        if factor == "epochs":
            assert recipe.training == reference.training.model_copy(update={"epochs": asked})
            assert recipe.attack == reference.attack
        else:
            assert recipe.attack == reference.attack.model_copy(update={"poisoned_images": int(asked)})
            assert recipe.training == reference.training
        assert (recipe.trigger, recipe.signature) == (reference.trigger, reference.signature)
    assert np.unique([recipe.digest() for recipe in found.values()]).size == len(VARIANTS)
