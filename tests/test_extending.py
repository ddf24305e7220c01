"""What docs/extending.md shows works: each thing is one file with one row, and nothing else is told about it."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from onepixel.architectures import ARCHITECTURES, architecture
from onepixel.classifiers import as_classifier
from onepixel.cli import main
from onepixel.datasets import DATASETS, load_dataset
from onepixel.detectors import Detector, load_detector
from onepixel.detectors.readings import READINGS
from onepixel.experiments import registry
from onepixel.methods import METHODS, method
from onepixel.populations import Recipe, parse_default_image
from onepixel.populations.default_images import DEFAULT_IMAGES, default_image_of
from onepixel.reaches import reach, sample_images
from onepixel.reaches.families import FAMILIES
from onepixel.trojan import ATTACKS, TRIGGERS, draw_attack
from planted_zoo import PREFIX, make_zoo

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
FILES = {
    Path(path).relative_to("src"): text
    for path, text in re.findall(r'```python title="([^"]+)"\n(.*?)```', PAGE, flags=re.DOTALL)
}
TABLES = (ARCHITECTURES, DATASETS, TRIGGERS, ATTACKS, DEFAULT_IMAGES, READINGS, FAMILIES, METHODS)


@pytest.fixture
def added(tmp_path, monkeypatch):
    """Write the page's files where the packages look for modules, and take their rows away again."""
    for table in TABLES:
        list(table)
        monkeypatch.setattr(table, "_rows", dict(table._rows))
        monkeypatch.setattr(table, "_complete", False)
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
        package = importlib.import_module(".".join(path.parent.parts))
        folder = str(tmp_path / path.parent)
        if folder not in package.__path__:
            monkeypatch.setattr(package, "__path__", [*package.__path__, folder])
    yield
    for path in FILES:
        sys.modules.pop(".".join(path.with_suffix("").parts), None)


def test_the_page_shows_every_table():
    folders = {table.folder for table in TABLES} | {"onepixel.experiments"}
    assert {".".join(path.parent.parts) for path in FILES} == folders


def test_the_files_are_formatted_and_pass_the_linter(added, tmp_path):
    ruff = importlib.import_module("ruff.__main__").find_ruff_bin()
    settings = ["--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    for command in (["check", *settings], ["format", "--check", *settings]):
        found = subprocess.run([ruff, *command, str(tmp_path)], capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stdout


def test_an_architecture_is_one_file(added):
    assert architecture("two_layers").build(3)(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


def test_a_data_set_is_one_file(added):
    assert load_dataset("checks").classes == 2


def test_a_trigger_and_an_attack_are_one_file_each_and_a_recipe_names_them(added):
    text = 'name = "a"\nrole = "trojaned"\n[trigger]\nkind = "bright"\n[attack]\nkind = "halves"\n'
    recipe = Recipe.from_toml(text)
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    rng = np.random.default_rng(0)
    trigger = recipe.trigger.draw((1, 4, 4), rng)
    assert trigger.stamp(np.zeros((1, 1, 4, 4), dtype=np.uint8), rng).min() >= 10
    assert draw_attack(recipe.attack, 4, rng).target_of == (2, 3, 2, 3)


def test_a_default_image_is_one_file(added, digits):
    image = default_image_of(parse_default_image("checkerboard"), digits)
    assert image.shape == digits.input_shape
    assert image.mean() == 0.5


def test_a_reading_is_one_file_and_a_detector_with_it_is_kept(added, tmp_path):
    rng = np.random.default_rng(0)
    rows = np.zeros(16, dtype=[("low", "f4", (3, 6, 6)), ("high", "f4", (3, 6, 6)), ("base", "f4", (3,))])
    labels = np.arange(16) % 2
    rows["high"] = rng.uniform(0, 1, (16, 3, 6, 6))
    rows["high"][labels == 1, 1, 2, 2] = 5
    detector = Detector(definition="log_odds", reading="peak").fit(rows, labels)
    assert detector.predict(rows).tolist() == labels.tolist()
    assert detector.class_scores(rows)[labels == 1].argmax(axis=1).tolist() == [1] * 8
    detector.save(tmp_path / "peak.safetensors")
    loaded = load_detector(tmp_path / "peak.safetensors")
    assert (loaded.decision_function(rows) == detector.decision_function(rows)).all()


def test_a_family_of_changes_is_one_file_and_a_search_looks_for_its_best_member(added):
    def brightest_rows(images):
        bright = images.mean(axis=(1, 3)).max(axis=1).clip(0.02, 0.98)
        return np.stack([1 - bright, bright], axis=1)

    classifier = as_classifier(brightest_rows, input_shape=(1, 8, 8), outputs="probabilities")
    images = np.random.default_rng(0).uniform(0, 0.1, (24, 1, 8, 8)).astype(np.float32)
    images[12:] += 0.9
    found = reach(classifier, sample_images(classifier, images), family=FAMILIES["stripe"].suited(8, 8))
    assert found.family == "stripe"
    assert (found.places[:, 2:] == [1, 8]).all()


def test_a_compared_method_is_one_file(added):
    classifier = as_classifier(architecture("two_layers").build(3), input_shape=(1, 8, 8))
    nothing = np.zeros((0, 1, 8, 8), dtype=np.float32), np.zeros(0, dtype=np.int64)
    assert method("confidence").score(classifier, *nothing).queries == 16


def test_an_experiment_is_one_file(added, tmp_path, capsys):
    zoo = make_zoo(tmp_path / "planted", {f"{PREFIX}-clean": ("clean", 3, 0)})
    command = ["experiment", "counted", "--prefix", PREFIX, "--zoo", str(zoo), "--output", str(tmp_path / "out")]
    assert main(command) == 0
    assert "3 clean networks." in (tmp_path / "out" / f"{PREFIX}.md").read_text()
    assert (tmp_path / "out" / f"{PREFIX}.csv").read_text() == "clean\n3\n"
    assert main([*command, "--prefix", "odd"]) == 2
    assert "onepixel population build odd-clean" in capsys.readouterr().err
    assert "| `counted` | How many clean networks are there? |" in registry.as_markdown()


def test_what_was_added_is_gone_again():
    assert "two_layers" not in ARCHITECTURES
