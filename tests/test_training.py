"""How one network is trained and signed: shrunken images first, a part of it alone, every so many rows and columns."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from onepixel.architectures import ARCHITECTURES, architecture
from onepixel.architectures.random import NetworkRecipe
from onepixel.datasets import Dataset
from onepixel.errors import UsageError
from onepixel.populations import Recipe, build
from onepixel.populations.build import build_stack, sign
from onepixel.populations.recipe import SignatureRecipe, TrainingRecipe
from onepixel.populations.stacked_training import train_stack
from onepixel.populations.store import Store
from onepixel.populations.training import draw, parameters_from, train, train_model
from onepixel.populations.zoo import ZooPopulation, export
from populations_of_digits import InProcess, digits_recipe


def trained(recipe: Recipe, digits: Dataset) -> tuple[nn.Module, list[torch.Size]]:
    """A network for any size of images, trained by a recipe, and the sizes of images that it was shown."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    sizes: list[torch.Size] = []
    module.register_forward_pre_hook(lambda module, shown: sizes.append(shown[0].shape[2:]))
    draws = draw(recipe, digits, 1)
    train(module, digits, draws.extras, recipe.training, draws.generator)
    return module, sizes


def test_the_first_part_of_a_training_sees_shrunken_images_and_fine_tuning_whole_ones(digits):
    training = TrainingRecipe(epochs=1, batch_size=100, low_resolution=4, low_resolution_share=0.25)
    _, sizes = trained(digits_recipe(training=training), digits)
    low = round(0.25 * len(sizes))
    assert low > 2
    assert sizes == [(4, 4)] * low + [(8, 8)] * (len(sizes) - low)
    tuned = training.model_copy(update={"injection": "fine_tune", "fine_tune_epochs": 1.0})
    more = trained(digits_recipe(training=tuned), digits)[1]
    assert set(more[round(0.25 * (len(digits.x_train) / 100)) :]) == {(8, 8)}
    assert len(more) > len(digits.x_train) / 100


def test_what_comes_before_the_first_tuned_part_keeps_weights_and_statistics(digits):
    recipe = digits_recipe(training=TrainingRecipe(epochs=0.5, tuned_from="1.1"))
    torch.manual_seed(0)
    before, after = (nn.Sequential(nn.Conv2d(planes, 4, 3), nn.BatchNorm2d(4), nn.ReLU()) for planes in (1, 4))
    module = nn.Sequential(before, after, nn.Flatten(), nn.Linear(4 * 4 * 4, 10))
    old = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    draws = draw(recipe, digits, 1)
    train(module, digits, draws.extras, recipe.training, draws.generator)
    kept = {name for name, tensor in module.state_dict().items() if torch.equal(tensor, old[name])}
    assert kept == {name for name in old if name.startswith(("0.", "1.0."))}
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert not any(part.training for part in module.modules())
    with pytest.raises(UsageError, match="no part 'head' from which to train"):
        parameters_from(module, "head")


def test_a_stack_refuses_what_each_network_does_by_itself(digits):
    for training in (TrainingRecipe(low_resolution=4), TrainingRecipe(tuned_from="features.3")):
        with pytest.raises(UsageError, match="one by one"):
            train_stack(digits_recipe(training=training), digits, [1], torch.device("cpu"))


def test_a_pretrained_network_starts_from_published_weights_and_others_are_refused(digits, monkeypatch):
    recipe = digits_recipe(training=TrainingRecipe(epochs=0.01, learning_rate=1e-9, pretrained=True))
    with pytest.raises(UsageError, match="no package has any of digits_cnn"):
        train_model(recipe, digits, 1)
    published = architecture("digits_cnn").build(10)
    known = replace(architecture("digits_cnn"), pretrained=lambda classes: deepcopy(published))
    monkeypatch.setitem(ARCHITECTURES._rows, "digits_cnn", known)
    for mine, theirs in zip(train_model(recipe, digits, 1).module.parameters(), published.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=0)
    with pytest.raises(ValidationError, match="start neither from a base"):
        digits_recipe(architecture="random", network=NetworkRecipe(), training=TrainingRecipe(pretrained=True))


def test_a_strided_signature_has_the_visited_pixels_alone_and_goes_through_store_and_zoo(digits, tmp_path):
    whole = digits_recipe("trojaned", models=2, epochs=0.5)
    coarse = whole.model_copy(update={"signature": SignatureRecipe(values=8, stride=3)})
    assert (coarse.digest(), coarse.grows_to(whole)) == (whole.digest(), False)
    store = build(coarse, tmp_path / "store", executor=InProcess())
    rows = store.signatures()
    assert rows["low"].shape == (2, 10, 3, 3)
    expected = sign(whole, 1, store.module(1), digits)
    for name in ("low", "high"):
        np.testing.assert_allclose(rows[name][1], getattr(expected, name)[:, ::3, ::3], atol=1e-4)
    assert Store.open(tmp_path / "store").signatures()["high"].shape == (2, 10, 3, 3)
    assert ZooPopulation(export(store, tmp_path / "zoo")).signatures()["high"].shape == (2, 10, 3, 3)
    stacked = build_stack(coarse, [1], digits, torch.device("cpu"))[0]
    assert len(stacked.signature) == rows.dtype.itemsize
