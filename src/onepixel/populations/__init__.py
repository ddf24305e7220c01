"""Populations of trained networks: recipes, building, and the store they are kept in."""

from onepixel.populations.build import Progress, build, build_slot
from onepixel.populations.executors import Executor, LocalExecutor
from onepixel.populations.recipe import Recipe, SignatureRecipe, Thresholds, TrainingRecipe
from onepixel.populations.store import Record, Store
from onepixel.populations.training import TrainedModel, train_model

__all__ = [
    "Executor",
    "LocalExecutor",
    "Progress",
    "Recipe",
    "Record",
    "SignatureRecipe",
    "Store",
    "Thresholds",
    "TrainedModel",
    "TrainingRecipe",
    "build",
    "build_slot",
    "train_model",
]
