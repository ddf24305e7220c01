"""Networks of random architecture: drawn by seed, described as JSON, built again, and kept within their cost."""

import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from onepixel.architectures.random import NetworkRecipe, RandomNetwork, draw_network
from onepixel.architectures.random.cost import VALUE_COST, operations
from onepixel.errors import UsageError
from onepixel.populations import Recipe, Store, build, networks_of
from onepixel.populations.recipe import SignatureRecipe, TrainingRecipe
from populations_of_digits import InProcess, digits_recipe

SHAPES = [((1, 8, 8), 10), ((1, 28, 28), 10), ((3, 32, 32), 43), ((3, 64, 64), 10)]
CHEAP = NetworkRecipe(most_operations=8e6)


def drawn(seed, shape=(1, 28, 28), classes=10, recipe=CHEAP):
    statistics = ([0.2] * shape[0], [0.3] * shape[0])
    return draw_network(recipe, shape, classes, statistics, np.random.default_rng(seed))


@pytest.mark.parametrize(("shape", "classes"), SHAPES)
def test_every_drawn_network_takes_a_step_and_answers_every_class(shape, classes):
    for seed in range(6):
        network = RandomNetwork(json.loads(json.dumps(drawn(seed, shape, classes))), shape, classes).train()
        logits = network(torch.rand(4, *shape))
        assert logits.shape == (4, classes)
        functional.cross_entropy(logits, torch.zeros(4, dtype=torch.int64)).backward()
        assert all(parameter.grad is not None for parameter in network.parameters())
        assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


def test_the_same_seed_draws_the_same_network_and_others_draw_others():
    assert drawn(3) == drawn(3)
    assert len({json.dumps(drawn(seed)) for seed in range(20)}) == 20


def test_draws_spread_over_families_blocks_and_activations():
    found = [drawn(seed) for seed in range(80)]
    assert {one["family"] for one in found} == {"convolutional", "perceptron", "transformer"}
    assert {one["block"] for one in found if one["family"] == "convolutional"} == {"plain", "residual", "depthwise"}
    assert len({one["activation"] for one in found}) >= 5
    assert {one["training"]["optimizer"] for one in found} == {"adam", "sgd"}


def counted(network, shape):
    """The cost of a network, counted layer by layer while it answers one image without values."""
    total = 0

    def count(layer, inputs, output):
        nonlocal total
        weights = layer.weight[0].numel() if isinstance(layer, nn.Conv2d | nn.Linear) else 0
        total += output.numel() * (VALUE_COST + weights)

    for layer in network.eval().modules():
        if not list(layer.children()):
            layer.register_forward_hook(count)
    network(torch.empty(1, *shape, device="meta"))
    return total


@pytest.mark.parametrize(("shape", "classes"), SHAPES)
def test_the_cost_of_a_draw_is_that_of_its_layers_and_within_what_is_allowed(shape, classes):
    for seed in range(6):
        one = drawn(seed, shape, classes, NetworkRecipe(most_operations=9e6, fewest_operations=1e5))
        with torch.device("meta"):
            network = RandomNetwork(one, shape, classes)
        assert counted(network, shape) == operations(one, shape, classes) == one["operations"]
        assert 1e5 <= one["operations"] <= 9e6


def test_a_space_that_holds_nothing_so_cheap_is_one_clear_sentence():
    with pytest.raises(UsageError, match="No random network for images of"):
        drawn(0, recipe=NetworkRecipe(most_operations=10))


def test_mirroring_is_drawn_only_where_classes_allow_it():
    names = {"mirror": set(), "straight": set()}
    for seed in range(30):
        for key, allowed in (("mirror", True), ("straight", False)):
            names[key] |= set(drawn(seed, recipe=NetworkRecipe(mirror=allowed))["training"]["augmentations"])
    assert "mirror" in names["mirror"]
    assert "mirror" not in names["straight"]


def test_a_stored_network_is_built_again_from_recipe_and_record(digits, tmp_path):
    recipe = digits_recipe(
        models=2,
        epochs=2,
        architecture="random",
        network=NetworkRecipe(most_operations=5e5),
        signature=SignatureRecipe(computed=False),
    )
    recipe = Recipe.from_toml(recipe.to_toml())
    build(recipe, tmp_path / "store", executor=InProcess())
    store = Store.open(tmp_path / "store")
    first, second = store.records()
    assert first.network != second.network
    for record in (first, second):
        module = store.module(record.slot)
        right = module(digits.x_test.float() / 255).argmax(dim=1) == digits.y_test
        assert float(right.double().mean()) == pytest.approx(record.clean_accuracy, abs=0.005)
        assert record.signature_sha256 == ""
    assert [record.slot for record, _, _ in networks_of(store)] == [0, 1]
    with pytest.raises(UsageError, match="built without signatures"):
        store.signatures()


@pytest.mark.parametrize(("architecture", "network"), [("random", None), ("lenet5", NetworkRecipe())])
def test_a_space_belongs_to_random_networks_and_to_no_others(architecture, network):
    with pytest.raises(ValueError, match="go together"):
        Recipe(name="wrong", role="clean", architecture=architecture, network=network)


def test_what_came_later_moves_no_seed_where_it_is_not_used():
    recipe = digits_recipe("trojaned")
    same = recipe.model_copy(update={"signature": recipe.signature.model_copy(update={"computed": False})})
    assert same.digest() == recipe.digest()
    training = TrainingRecipe(epochs=4, batch_size=64, learning_rate=1e-2, optimizer="sgd")
    assert recipe.model_copy(update={"training": training}).digest() != recipe.digest()
