"""The commands of the laboratory: populations, detectors, experiments; exit statuses and single sentences."""

import json
from pathlib import Path

import numpy as np
import pytest

from onepixel.cli import main
from populations_of_digits import InProcess, digits_recipe


@pytest.fixture(scope="module")
def stores(tmp_path_factory, request) -> dict[str, Path]:
    """Clean and trojaned populations built by the command itself."""
    folder = tmp_path_factory.mktemp("stores")
    made = {}
    for role in ("clean", "trojaned"):
        digits_recipe(role, 4, epochs=8).save(folder / f"{role}.toml")
        made[role] = folder / role
        command = ["population", "build", str(folder / f"{role}.toml"), "--store", str(made[role]), "--workers", "1"]
        assert main([*command, "--quiet"]) == 0
    return made


def one_sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed on standard error, which must be a single line."""
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_a_recipe_in_bfloat16_is_announced_as_slow_where_the_processor_lacks_it(tmp_path, capsys, monkeypatch):
    recipe = digits_recipe("clean", 1, epochs=1)
    slow = recipe.training.model_copy(update={"precision": "bfloat16"})
    for has_it in (True, False):
        monkeypatch.setattr("onepixel.populations.training.computes_bfloat16", lambda has_it=has_it: has_it)
        for name, training in (("slow", slow), ("usual", recipe.training)):
            path = tmp_path / f"{name}.toml"
            recipe.model_copy(update={"training": training}).save(path)
            store = str(tmp_path / f"{name}-{has_it}")
            assert main(["population", "build", str(path), "--store", store, "--workers", "1"]) == 0
            announced = "no instructions for bfloat16" in capsys.readouterr().err
            assert announced == (name == "slow" and not has_it)


def test_building_tells_progress_accuracy_and_failures(stores, tmp_path, capsys):
    recipe = str(stores["clean"].parent / "clean.toml")
    assert main(["population", "build", recipe, "--store", str(tmp_path / "new"), "--models", "2"]) == 0
    printed = capsys.readouterr()
    assert "2/2 models, clean accuracy" in printed.err
    assert "0 failed, 00:00:00 left" in printed.err
    assert "2 models in" in printed.out


def test_show_prints_a_summary_json_and_a_picture(stores, tmp_path, capsys):
    picture = tmp_path / "p.png"
    assert main(["population", "show", str(stores["trojaned"]), "--plot", str(picture)]) == 0
    assert "4 of 4" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["population", "show", str(stores["trojaned"]), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["records"]) == 4


def test_verify_is_silent_about_a_good_store_and_exits_3_on_a_damaged_one(stores, tmp_path, capsys):
    import shutil

    assert main(["population", "verify", str(stores["clean"]), "--sample", "1"]) == 0
    assert "all well" in capsys.readouterr().out
    shutil.copytree(stores["clean"], tmp_path / "bad")
    (tmp_path / "bad" / "models" / "00002.safetensors").unlink()
    assert main(["population", "verify", str(tmp_path / "bad")]) == 3
    assert "slot 2" in capsys.readouterr().err


def test_a_truncated_store_exits_3_with_one_sentence(stores, tmp_path, capsys):
    import shutil

    shutil.copytree(stores["clean"], tmp_path / "cut")
    array = tmp_path / "cut" / "signatures.npy"
    array.write_bytes(array.read_bytes()[:1000])
    assert main(["population", "show", str(tmp_path / "cut")]) == 3
    assert "truncated" in one_sentence(capsys)


def test_the_printed_recipe_can_be_built_from(tmp_path, capsys):
    from onepixel.populations import Recipe

    assert main(["population", "recipe", "--role", "stamped", "--name", "mine"]) == 0
    assert Recipe.from_toml(capsys.readouterr().out).role == "stamped"
    assert main(["population", "recipe", "--role", "evil"]) == 2
    assert "clean, stamped or trojaned" in one_sentence(capsys)


@pytest.mark.parametrize("content", ["", "name = 3", "\x00\x01"])
def test_a_recipe_that_is_none_exits_2_with_one_sentence(tmp_path, content, capsys):
    path = tmp_path / "recipe.toml"
    path.write_text(content)
    assert main(["population", "build", str(path), "--store", str(tmp_path / "s")]) == 2
    assert "recipe" in one_sentence(capsys)
    assert not (tmp_path / "s").exists()


def test_a_detector_is_trained_from_stores_and_zoo_evaluated_and_judges(stores, tmp_path, capsys):
    zoo = tmp_path / "zoo"
    assert main(["population", "export", str(stores["clean"]), "--zoo", str(zoo)]) == 0
    capsys.readouterr()
    populations = ["--clean", str(zoo / "digits-clean"), "--trojaned", str(stores["trojaned"])]
    detector = tmp_path / "d.safetensors"
    assert main(["detector", "train", *populations, "--output", str(detector), "--epochs", "3"]) == 0
    assert "4 clean and 4 trojaned" in capsys.readouterr().out
    assert main(["detector", "evaluate", str(detector), *populations, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["clean"] == 4


def test_clean_models_that_are_held_back_calibrate_and_do_not_train(stores, tmp_path, capsys):
    from onepixel.detectors import load_detector
    from onepixel.populations import Store

    populations = ["--clean", str(stores["clean"]), "--trojaned", str(stores["trojaned"])]
    detector = tmp_path / "d.safetensors"
    command = ["detector", "train", *populations, "--output", str(detector), "--reading", "statistics"]
    assert main([*command, "--hold-back", "2"]) == 0
    assert "2 clean and 4 trojaned" in capsys.readouterr().out
    found = load_detector(detector)
    last_two = np.array(Store.open(stores["clean"]).signatures()[-2:])
    np.testing.assert_allclose(found.calibration_scores_, np.sort(found.decision_function(last_two)))
    assert main([*command, "--hold-back", "4"]) == 2
    assert "cannot be held back" in one_sentence(capsys)


def test_populations_of_other_settings_are_refused_with_one_sentence(stores, tmp_path, capsys):
    from onepixel.populations import SignatureRecipe, build

    recipe = digits_recipe("clean", 2, epochs=0.1, signature=SignatureRecipe(values=4))
    build(recipe, tmp_path / "other", executor=InProcess())
    command = ["detector", "train", "--clean", str(stores["clean"]), "--trojaned", str(tmp_path / "other")]
    assert main([*command, "--output", str(tmp_path / "d.safetensors")]) == 3
    assert "other settings" in one_sentence(capsys)
