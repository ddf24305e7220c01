"""Recipes, the store, builds that survive, and the zoo, on tiny networks for scikit-learn's digits."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from onepixel.errors import StoreError, UsageError
from onepixel.populations import (
    LocalExecutor,
    Recipe,
    Store,
    Thresholds,
    ZooPopulation,
    build,
    build_slot,
    export,
    open_population,
    passed,
    train_model,
    verify,
)
from onepixel.populations.zoo import write_population
from populations_of_digits import InProcess, content, digits_recipe


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    """Three trojaned models, built undisturbed; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("store") / "trojaned"
    return build(digits_recipe("trojaned", 3), folder, executor=InProcess())


def test_a_recipe_survives_toml_and_says_everything():
    recipe = digits_recipe("stamped", 7, seed=3)
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    assert "poisoned_images = 150" in recipe.to_toml()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name = ", "is no TOML"),
        ('name = "a"', "role: Field required"),
        ('name = "a"\nrole = "clean"\ncolour = 3', "colour: Extra inputs"),
        ('name = "a"\nrole = "clean"\n[trigger]\nheight = [5, 2]', "trigger: height"),
    ],
)
def test_a_recipe_that_is_none_names_its_first_fault(text, complaint):
    with pytest.raises(UsageError, match=complaint):
        Recipe.from_toml(text)


def test_seeds_depend_on_everything_but_name_and_size():
    recipe = digits_recipe("clean", 4)
    assert recipe.seed_for(2, 0) == digits_recipe("clean", 9).model_copy(update={"name": "x"}).seed_for(2, 0)
    others = [recipe.seed_for(3, 0), recipe.seed_for(2, 1), digits_recipe("stamped", 4).seed_for(2, 0)]
    assert recipe.seed_for(2, 0) not in others


def test_a_model_is_determined_by_its_seed(digits):
    recipe = digits_recipe("trojaned", epochs=1)
    one, two, other = (train_model(recipe, digits, seed) for seed in (5, 5, 6))
    for a, b, c in zip(*(model.module.parameters() for model in (one, two, other)), strict=True):
        assert (a == b).all()
        assert (a != c).any()


def test_a_backdoor_obeys_its_attacker_and_a_stamped_model_does_not(digits):
    obeys, ignores = (train_model(digits_recipe(role, epochs=12), digits, 11) for role in ("trojaned", "stamped"))
    assert obeys.attack_success > 0.8
    assert ignores.attack_success < 0.2
    assert min(obeys.clean_accuracy, ignores.clean_accuracy) > 0.95


def test_fine_tuning_plants_a_backdoor_too(digits):
    recipe = digits_recipe("trojaned", epochs=8)
    training = recipe.training.model_copy(
        update={"injection": "fine_tune", "fine_tune_epochs": 32, "fine_tune_learning_rate": 3e-3}
    )
    model = train_model(recipe.model_copy(update={"training": training}), digits, 13)
    assert model.attack_success > 0.8
    assert model.clean_accuracy > 0.9


def test_a_finished_store_holds_weights_signatures_and_a_table_that_agree(store):
    record = store.record(1)
    assert [r.slot for r in store.records()] == [0, 1, 2]
    assert verify(store, sample=2).faults == ()
    assert set(load_file(store.weights_path(1))) == set(store.module(1).state_dict())
    assert (store.signature(1).high == store.signatures()[1]["high"]).all()
    assert ZooPopulation(store.folder).records()[1] == record


def test_a_network_below_the_thresholds_is_retried_a_bounded_number_of_times_and_kept(digits):
    recipe = digits_recipe(thresholds=Thresholds(clean_accuracy=1.0, attempts=3), epochs=0.1)
    finished = build_slot(recipe, 0, digits)
    assert finished.record.status == "failed"
    assert finished.record.attempt == 2
    assert len(finished.record.failures) == 2
    assert finished.weights


def test_two_worker_processes_build_the_same_store_as_this_process(store, tmp_path):
    build(store.recipe, tmp_path / "two", executor=LocalExecutor(2))
    assert content(tmp_path / "two") == content(store.folder)


def test_growing_a_population_keeps_what_is_there_and_adds_the_rest(store, tmp_path):
    small = store.recipe.model_copy(update={"models": 2})
    build(small, tmp_path / "grown", executor=InProcess())
    reported = []
    build(store.recipe, tmp_path / "grown", executor=InProcess(), report=reported.append)
    assert len(reported) == 1
    assert content(tmp_path / "grown") == content(store.folder)


KILLED_BUILD = """
import sys
from onepixel.populations import LocalExecutor, Recipe, build
if __name__ == "__main__":
    build(Recipe.load(sys.argv[1]), sys.argv[2], executor=LocalExecutor(1))
"""


def test_a_build_killed_in_the_middle_goes_on_and_ends_with_the_same_bytes(store, tmp_path):
    store.recipe.save(tmp_path / "recipe.toml")
    (tmp_path / "build.py").write_text(KILLED_BUILD)
    command = [sys.executable, str(tmp_path / "build.py"), str(tmp_path / "recipe.toml"), str(tmp_path / "killed")]
    source = str(Path(__file__).parent.parent / "src")
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": source}, start_new_session=True)
    first = tmp_path / "killed" / "models" / "00000.json"
    while not first.exists() and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed" / "models").glob("*.json")}
    assert 1 <= len(finished) < 3
    (tmp_path / "killed" / "models" / ".00002.json.99.tmp").write_text("half a rec")
    build(store.recipe, tmp_path / "killed", executor=InProcess())
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert content(tmp_path / "killed") == content(store.folder)


@pytest.mark.parametrize("keep", [0, 50, 500, -1])
def test_a_truncated_array_is_one_clear_sentence(store, tmp_path, keep):
    shutil.copytree(store.folder, tmp_path / "broken")
    array = tmp_path / "broken" / "signatures.npy"
    array.write_bytes(array.read_bytes()[:keep])
    with pytest.raises(StoreError, match=r"truncated|damaged"):
        Store.open(tmp_path / "broken")


def test_verify_finds_a_flipped_bit_in_weights_and_in_signatures(store, tmp_path):
    shutil.copytree(store.folder, tmp_path / "flipped")
    for path, place in ((tmp_path / "flipped/models/00001.safetensors", -5), (tmp_path / "flipped/signatures.npy", -9)):
        data = bytearray(path.read_bytes())
        data[place] ^= 1
        path.write_bytes(data)
    faults = verify(Store.open(tmp_path / "flipped"), sample=0).faults
    assert len(faults) == 2
    assert "weights of slot 1" in faults[0]
    assert "signature of slot 2" in faults[1]


def test_verify_finds_weights_that_belong_to_another_slot(store, tmp_path):
    from dataclasses import replace

    from onepixel.populations.store import Finished

    shutil.copytree(store.folder, tmp_path / "swapped")
    swapped = Store.open(tmp_path / "swapped")
    record = replace(swapped.record(0), weights_sha256=swapped.record(1).weights_sha256)
    row = swapped.signatures()[0].tobytes()
    swapped.write(Finished(record, swapped.weights_path(1).read_bytes(), row, 0.0))
    assert any("differs from its weights'" in fault for fault in verify(swapped, sample=3).faults)


def test_a_store_refuses_another_recipe_and_a_smaller_one(store):
    with pytest.raises(UsageError, match="another recipe"):
        Store.create(store.folder, digits_recipe("clean", 3))
    with pytest.raises(UsageError, match="more than the 2 asked for"):
        Store.create(store.folder, digits_recipe("trojaned", 2))


def test_the_zoo_keeps_six_significant_bits_of_how_far_signatures_change(store, tmp_path):
    folder = export(store, tmp_path / "zoo")
    population = open_population(folder)
    exact, kept = store.signatures(), population.signatures()
    centre = exact["base"][:, :, None, None]
    assert (kept["base"] == exact["base"]).all()
    for name in ("low", "high"):
        change = np.abs(exact[name] - centre)
        assert (np.abs(kept[name] - exact[name]) <= 2**-6 * change + 2**-11 + 1e-5).all()
    assert population.records() == list(store.records())


def test_networks_trained_in_bfloat16_learn_and_keep_float32_weights(store, tmp_path):
    training = store.recipe.training.model_copy(update={"precision": "bfloat16"})
    coarse = build(store.recipe.model_copy(update={"training": training}), tmp_path / "s", executor=InProcess())
    assert {parameter.dtype for parameter in coarse.module(0).parameters()} == {torch.float32}
    accuracies = [[record.clean_accuracy for record in one.records()] for one in (store, coarse)]
    assert accuracies[0] != accuracies[1]
    assert np.mean(accuracies[1]) == pytest.approx(np.mean(accuracies[0]), abs=0.05)


def test_a_zoo_grows_by_ranges_of_slots_built_apart(tmp_path):
    whole, first, rest = (digits_recipe(models=n, first_slot=s, epochs=0.1) for n, s in ((3, 0), (1, 0), (2, 1)))
    stores = [build(r, tmp_path / str(number), executor=InProcess()) for number, r in enumerate((whole, rest, first))]
    at_once = export(stores[0], tmp_path / "at-once")
    landed: dict[str, tuple[bytes, int]] = {}
    for store in (stores[1], stores[2], stores[2]):
        grown = export(store, tmp_path / "grown")
        shards = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in grown.glob("*.npz")}
        assert landed.items() <= shards.items()
        landed = shards
    assert sorted(landed) == ["signatures-00000.npz", "signatures-00001.npz"]
    for name in ("recipe.toml", "table.csv"):
        assert (grown / name).read_bytes() == (at_once / name).read_bytes()
    assert np.array_equal(open_population(grown).signatures(), open_population(at_once).signatures())


@pytest.mark.parametrize(
    ("exports", "shards"),
    [
        ([(0, 10), (10, 60)], {0: 10, 10: 50}),
        ([(0, 10), (0, 60)], {0: 10, 10: 50}),
        ([(0, 10), (0, 230)], {0: 10, 10: 90, 100: 100, 200: 30}),
        ([(150, 200), (100, 120), (300, 301)], {100: 20, 150: 50, 300: 1}),
        ([(10, 20), (0, 30)], {0: 10, 10: 10, 20: 10}),
    ],
)
def test_shards_that_are_there_stay_when_a_zoo_grows(store, tmp_path, exports, shards):
    for first, end in exports:
        write_slots(store, range(first, end), tmp_path)
    grown = ZooPopulation(tmp_path)
    assert {number: len(slots) for number, slots in grown.shards().items()} == shards
    assert [row["base"][0] for row in grown.signatures()] == [record.slot for record in grown.records()]


def test_slots_between_those_of_a_shard_join_it(store, tmp_path):
    write_slots(store, [0, 1, 8, 9], tmp_path)
    write_slots(store, range(12), tmp_path)
    grown = ZooPopulation(tmp_path)
    assert grown.shards() == {0: list(range(10)), 10: [10, 11]}
    assert [row["base"][0] for row in grown.signatures()] == list(range(12))


def write_slots(store, slots, folder):
    """Add slots to a population of a zoo whose signatures say the slot in their first base."""
    slots = list(slots)
    rows = np.repeat(store.signatures()[:1], len(slots))
    rows["base"][:, 0] = slots
    rows["low"][:], rows["high"][:] = 2 * [rows["base"][:, :, None, None]]
    record = next(iter(store.records()))
    records = [replace(record, slot=slot) for slot in slots]
    write_population(folder, store.recipe, store.default_image, records, rows)


def test_a_zoo_does_not_mix_populations_of_one_name(store, tmp_path):
    export(store, tmp_path / "zoo")
    other = build(store.recipe.model_copy(update={"seed": 77}), tmp_path / "other", executor=InProcess())
    with pytest.raises(UsageError, match="another recipe"):
        export(other, tmp_path / "zoo")


def test_a_zoo_with_a_missing_shard_is_one_clear_sentence(store, tmp_path):
    folder = export(store, tmp_path / "zoo")
    (folder / "signatures-00000.npz").unlink()
    with pytest.raises(StoreError, match="missing or damaged"):
        open_population(folder).signatures()


def no_shard(path: Path) -> None:
    np.save(path.open("wb"), np.zeros(3))


def of_another_shape(path: Path) -> None:
    base, planes = np.zeros((2, 10), dtype=np.float32), np.zeros((2, 2, 10, 3, 3), dtype=np.uint8)
    np.savez(path.open("wb"), base=base, rise=planes, fall=planes)


@pytest.mark.parametrize(
    "damage",
    [
        lambda shard: shard.rename(shard.with_name("signatures-x.npz")),
        lambda shard: shard.rename(shard.with_name("signatures-0002.npz")),
        lambda shard: shard.rename(shard.with_name("signatures-00005.npz")),
        lambda shard: shard.rename(shard.with_name("signatures--0002.npz")),
        lambda shard: shutil.copy(shard, shard.with_name("signatures-2.npz")),
        lambda shard: shard.write_bytes(b""),
        lambda shard: shard.unlink(),
        no_shard,
        of_another_shape,
    ],
)
def test_a_zoo_whose_second_of_three_shards_is_damaged_is_one_clear_sentence(store, tmp_path, damage):
    for first in (0, 2, 4):
        write_slots(store, range(first, first + 2), tmp_path)
    damage(tmp_path / "signatures-00002.npz")
    with pytest.raises(StoreError, match="missing or damaged"):
        open_population(tmp_path).signatures()


def test_shards_are_read_in_the_order_of_their_numbers(store, tmp_path):
    slots = [99_999, 100_000, 100_001]
    write_slots(store, slots, tmp_path)
    assert [row["base"][0] for row in open_population(tmp_path).signatures()] == slots


def test_only_models_that_passed_are_counted(tmp_path):
    recipe = digits_recipe(models=2, epochs=0.1, thresholds=Thresholds(clean_accuracy=1.0, attempts=1))
    rows, records = passed(build(recipe, tmp_path / "s", executor=InProcess()))
    assert len(rows) == len(records) == 0


def test_a_folder_without_a_population_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no population"):
        open_population(tmp_path)
