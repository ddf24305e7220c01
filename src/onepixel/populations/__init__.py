"""Populations of trained networks: recipes, building, and the store they are kept in."""

from onepixel.populations.build import build_slot
from onepixel.populations.catalogue import known_name, known_populations, known_recipe, recipe_of
from onepixel.populations.default_images import parse_default_image
from onepixel.populations.driver import Progress, build
from onepixel.populations.executors import Executor, LocalExecutor, RayExecutor, StackedExecutor
from onepixel.populations.names import PopulationName
from onepixel.populations.read import networks_of
from onepixel.populations.recipe import Recipe, SignatureRecipe, Thresholds, TrainingRecipe
from onepixel.populations.resign import resign
from onepixel.populations.store import Record, Store
from onepixel.populations.training import TrainedModel, train_model
from onepixel.populations.verify import Verification, verify
from onepixel.populations.zoo import ZooPopulation, export, open_population, passed

__all__ = [
    "Executor",
    "LocalExecutor",
    "PopulationName",
    "Progress",
    "RayExecutor",
    "Recipe",
    "Record",
    "SignatureRecipe",
    "StackedExecutor",
    "Store",
    "Thresholds",
    "TrainedModel",
    "TrainingRecipe",
    "Verification",
    "ZooPopulation",
    "build",
    "build_slot",
    "export",
    "known_name",
    "known_populations",
    "known_recipe",
    "networks_of",
    "open_population",
    "parse_default_image",
    "passed",
    "recipe_of",
    "resign",
    "train_model",
    "verify",
]
