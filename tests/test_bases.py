"""Base networks: trained once, kept in the cache, and fine-tuned into clean and trojaned networks alike."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import load_file

from onepixel.errors import UsageError
from onepixel.populations import PopulationName, Recipe, attempts, bases, build, build_slot, known_recipe
from onepixel.populations.attempts import attempts_at
from onepixel.populations.bases import base_for, base_network, base_path

BASE = known_recipe("digits-digits_cnn-base")
TUNED = known_recipe("digits-digits_cnn-tuned-vaccine")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache of its own, in which the first base network is there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def trainings(monkeypatch) -> list[str]:
    """The populations whose networks were trained, as they are."""
    names = []

    def counted(recipe: Recipe, *said: object) -> object:
        names.append(recipe.name)
        return attempts_at(recipe, *said)

    monkeypatch.setattr(bases, "attempts_at", counted)
    return names


def test_a_base_is_the_network_of_its_own_recipe_and_trained_once(digits, trainings):
    first = base_network(BASE, 0, digits)
    assert trainings == [BASE.name]
    again = base_network(BASE, 0, digits)
    assert trainings == [BASE.name]
    own = attempts.attempts_at(BASE, 0, digits)[-1].module.state_dict()
    for name, tensor in own.items():
        assert torch.equal(first[name], tensor)
        assert torch.equal(again[name], tensor)


def test_slots_take_turns_and_roles_start_alike(digits):
    clean = known_recipe("digits-digits_cnn-tuned-clean")
    for slot in range(4):
        one, two = (base_for(recipe, slot, digits) for recipe in (clean, TUNED))
        turn = base_network(BASE, slot % 2, digits)
        assert all(torch.equal(one[name], turn[name]) and torch.equal(two[name], turn[name]) for name in turn)


def test_who_needs_a_base_that_another_is_training_waits_for_it(digits, trainings):
    other = BASE.model_copy(update={"seed": 5})
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda slot: base_network(other, slot, digits), [0, 0])
    assert trainings == [BASE.name]
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_damaged_or_foreign_file_in_the_cache_is_replaced(digits, trainings):
    whole = base_network(BASE, 0, digits)
    path, other = base_path(BASE, 0), base_path(BASE, 1)
    base_network(BASE, 1, digits)
    flipped = bytearray(path.read_bytes())
    flipped[-100] ^= 1
    for content in (path.read_bytes()[:-9], bytes(flipped), other.read_bytes(), b""):
        trainings.clear()
        path.write_bytes(content)
        assert torch.equal(base_network(BASE, 0, digits)["classifier.1.weight"], whole["classifier.1.weight"])
        assert trainings == [BASE.name]
    assert set(load_file(path)) == set(whole)


def test_a_backdoor_comes_by_fine_tuning_a_base_and_the_same_slot_is_the_same_again(digits):
    one, two = (build_slot(TUNED, 0, digits) for _ in range(2))
    assert one.record.status == "passed"
    assert one.record.attack_success > 0.85
    assert (one.weights, one.signature) == (two.weights, two.signature)


def test_a_base_that_misses_its_threshold_or_does_not_fit_is_refused(digits, tmp_path):
    poor = BASE.model_copy(
        update={
            "training": BASE.training.model_copy(update={"epochs": 0.1}),
            "thresholds": BASE.thresholds.model_copy(update={"attempts": 1}),
        }
    )
    with pytest.raises(UsageError, match="has an accuracy of"):
        base_network(poor, 0, digits)
    assert not base_path(poor, 0).exists()
    for recipe, complaint in (
        ("gtsrb-six_plus_two-base", "and gtsrb-six_plus_two-base, which they start from"),
        ("digits-digits_cnn-tuned-clean", "which is no population of clean networks"),
        ("digits-odd", "no recipe of digits-odd"),
    ):
        base = TUNED.base.model_copy(update={"recipe": recipe})
        with pytest.raises(UsageError, match=complaint):
            base_for(TUNED.model_copy(update={"base": base}), 0, digits)
        with pytest.raises(UsageError, match=complaint):
            build(TUNED.model_copy(update={"base": base}), tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_base_and_fine_tuning_it_go_together_and_count_in_the_digest():
    text = 'name = "a"\nrole = "clean"\n'
    for part in ('[base]\nrecipe = "digits-digits_cnn-base"', '[training]\ninjection = "fine_tune_base"'):
        with pytest.raises(UsageError, match="go together"):
            Recipe.from_toml(text + part)
    more = TUNED.model_copy(update={"base": TUNED.base.model_copy(update={"networks": 3})})
    assert more.digest() != TUNED.digest()
    assert Recipe.from_toml(TUNED.to_toml()) == TUNED


def test_fine_tuned_networks_are_a_family_of_their_own():
    name = PopulationName.parse("gtsrb-six_plus_two-tuned-virus-final-class-means")
    assert (name.family, name.kind, name.pool) == ("six_plus_two-tuned", "virus", "final")
    assert str(name) == "gtsrb-six_plus_two-tuned-virus-final-class-means"
    prefix = PopulationName.parse("gtsrb-six_plus_two-tuned")
    assert str(prefix.of("clean-final")) == "gtsrb-six_plus_two-tuned-clean-final"
