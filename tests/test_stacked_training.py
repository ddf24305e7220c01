"""Networks trained together against the same networks trained alone, on scikit-learn's digits."""

import copy
import shutil

import pytest
import torch
from torch import nn
from torch.func import stack_module_state

from onepixel.errors import UsageError
from onepixel.populations import StackedExecutor, Store, Thresholds, TrainingRecipe, build, build_slot, train_model
from onepixel.populations.build import build_stack
from onepixel.populations.executors.stacked import stacks_of
from onepixel.populations.stacked_training import Pool, stacked_loss, train_stack
from populations_of_digits import content, digits_recipe

CPU = torch.device("cpu")
FROM_SCRATCH = TrainingRecipe(epochs=0.2, batch_size=64, learning_rate=1e-3)
FINE_TUNE = FROM_SCRATCH.model_copy(update={"injection": "fine_tune", "fine_tune_epochs": 0.6})


def weights(module: nn.Module) -> torch.Tensor:
    """Every number of a network's state, running statistics included."""
    return torch.cat([tensor.flatten().float() for tensor in module.state_dict().values()])


@pytest.mark.parametrize(
    ("architecture", "training"),
    [("digits_cnn", FROM_SCRATCH), ("digits_cnn", FINE_TUNE), ("resnet8", FROM_SCRATCH)],
    ids=["from scratch", "fine-tuned", "with batch norm"],
)
def test_networks_trained_together_equal_those_trained_alone_up_to_rounding(architecture, training, digits):
    recipe = digits_recipe("trojaned", training=training).model_copy(update={"architecture": architecture})
    seeds = [recipe.seed_for(slot, 0) for slot in range(3)]
    together = train_stack(recipe, digits, seeds, CPU)
    for seed, stacked in zip(seeds, together, strict=True):
        alone = train_model(recipe, digits, seed)
        assert (stacked.attack, stacked.trigger) == (alone.attack, alone.trigger)
        difference = (weights(stacked.module) - weights(alone.module)).abs()
        assert difference.mean() < 1e-3 * weights(alone.module).abs().mean()
        assert difference.max() < 5e-3
        assert stacked.clean_accuracy == pytest.approx(alone.clean_accuracy, abs=0.01)


def test_each_network_of_a_stack_is_retried_by_its_own_accuracy(digits):
    recipe = digits_recipe("clean", 3, epochs=1, thresholds=Thresholds(clean_accuracy=0.7, attempts=2))
    alone = [build_slot(recipe, slot, digits).record for slot in range(3)]
    together = [finished.record for finished in build_stack(recipe, range(3), digits, CPU)]
    assert {record.status for record in alone} == {"passed", "failed"}
    for one, other in zip(together, alone, strict=True):
        assert (one.slot, one.attempt, one.seed, one.status) == (other.slot, other.attempt, other.seed, other.status)
        assert len(one.failures) == len(other.failures)
        assert one.clean_accuracy == pytest.approx(other.clean_accuracy, abs=0.02)


def test_a_stack_trains_in_bfloat16_too(digits):
    training = TrainingRecipe(epochs=4, batch_size=64, learning_rate=1e-2, precision="bfloat16")
    recipe = digits_recipe("trojaned", training=training)
    together = train_stack(recipe, digits, [1, 2], CPU)
    for model, seed in zip(together, [1, 2], strict=True):
        assert next(model.module.parameters()).dtype == torch.float32
        assert model.clean_accuracy == pytest.approx(train_model(recipe, digits, seed).clean_accuracy, abs=0.05)


def test_dropout_draws_differ_between_the_networks_of_a_stack(digits):
    module = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10))
    parameters, buffers = stack_module_state([module, copy.deepcopy(module)])
    pool = Pool(digits.x_train, digits.y_train, ordinary=len(digits.x_train), models=2)
    stacked_loss(module, parameters, buffers, pool, TrainingRecipe())(torch.arange(32).expand(2, 32)).backward()
    one, other = parameters["2.weight"].grad
    assert not torch.equal(one, other)


def test_the_recipe_says_who_shares_a_stack():
    training = TrainingRecipe(stack_size=4)
    recipe = digits_recipe(models=7, training=training).model_copy(update={"first_slot": 6})
    assert stacks_of(recipe) == [(6, 7), (8, 9, 10, 11), (12,)]


@pytest.mark.slow
def test_a_stacked_build_that_was_interrupted_or_had_two_workers_ends_with_the_same_bytes(tmp_path):
    recipe = digits_recipe("trojaned", 3, training=TrainingRecipe(epochs=1, batch_size=64, stack_size=2))
    whole = build(recipe, tmp_path / "whole", executor=StackedExecutor("cpu"))
    shutil.copytree(whole.folder, tmp_path / "interrupted")
    Store.open(tmp_path / "interrupted").record_path(1).unlink()
    build(recipe, tmp_path / "interrupted", executor=StackedExecutor("cpu"))
    build(recipe, tmp_path / "two workers", executor=StackedExecutor("cpu", workers=2))
    assert content(tmp_path / "interrupted") == content(tmp_path / "two workers") == content(whole.folder)


def test_a_device_that_is_not_there_is_one_sentence():
    with pytest.raises(UsageError, match="no device 'cuda:99'"):
        StackedExecutor("cuda:99")


def test_a_store_refuses_another_stack_size_but_seeds_do_not_depend_on_it(tmp_path):
    recipe = digits_recipe("clean", 2)
    other = recipe.model_copy(update={"training": recipe.training.model_copy(update={"stack_size": 2})})
    assert recipe.seed_for(1, 0) == other.seed_for(1, 0)
    Store.create(tmp_path / "s", recipe)
    with pytest.raises(UsageError, match="another recipe"):
        Store.create(tmp_path / "s", other)
