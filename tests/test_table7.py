"""Table 7 from populations whose accuracies are known."""

import numpy as np
import pytest

from onepixel.cli import main
from onepixel.errors import UsageError
from onepixel.experiments.table7 import EXPERIMENT
from onepixel.populations import Record
from onepixel.populations.store import write_table
from populations_of_digits import digits_recipe


def population(folder, accuracies, *, dataset="mnist", architecture="lenet5", role="clean", seed=0):
    """A population of a zoo, without signatures, whose second network passed at its second attempt."""
    folder.mkdir(parents=True)
    recipe = digits_recipe(role, len(accuracies), seed=seed)
    recipe.model_copy(update={"dataset": dataset, "architecture": architecture}).save(folder / "recipe.toml")
    records = [
        Record(slot, 1 if slot == 1 else 0, slot, "passed", accuracy, 0.0, 1.0, [[0.5, 0.0]] if slot == 1 else [], [0])
        for slot, accuracy in enumerate(accuracies)
    ]
    write_table(folder / "table.csv", records)


def test_each_cell_is_mean_and_deviation_over_every_clean_population_of_its_kind(tmp_path):
    population(tmp_path / "zoo" / "one", [0.98, 0.99])
    population(tmp_path / "zoo" / "two", [1.0], seed=1)
    population(tmp_path / "zoo" / "fashion", [0.9], dataset="fashion_mnist", architecture="resnet8")
    population(tmp_path / "zoo" / "trojaned", [0.1], role="trojaned")
    assert (
        main(["experiment", "table7", "--from-zoo", "--zoo", str(tmp_path / "zoo"), "--output", str(tmp_path / "out")])
        == 0
    )
    text = (tmp_path / "out" / "table7.md").read_text()
    assert "| mnist | lenet5 | 3 | 99.00 ± 1.00 | 82.67 ± 28.31 | 98.94 ± 0.20 |" in text
    assert "| fashion_mnist | resnet8 | 1 | 90.00 | 90.00 | 91.85 ± 0.30 |" in text
    assert "| mnist | vgg10 | 0 | - | - | 99.03 ± 0.31 |" in text


def test_first_attempts_show_what_thresholds_hide(tmp_path):
    population(tmp_path / "zoo" / "one", [0.98, 0.99])
    cell = EXPERIMENT.run(tmp_path / "out", zoo=tmp_path / "zoo")[0]
    assert cell.first_attempt == [0.98, 0.5]
    assert np.mean(cell.accuracy) == pytest.approx(0.985)


def test_a_population_found_twice_counts_once(tmp_path):
    for place in ("zoo", "stores"):
        population(tmp_path / place / "one", [0.98, 0.99])
    assert len(EXPERIMENT.run(tmp_path / "out", zoo=tmp_path / "zoo", stores=tmp_path / "stores")[0].accuracy) == 2


def test_without_a_clean_population_one_sentence_says_so(tmp_path):
    with pytest.raises(UsageError, match="There is no clean population in"):
        EXPERIMENT.run(tmp_path / "out", zoo=tmp_path)
