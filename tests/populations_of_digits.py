"""Tiny recipes on scikit-learn's digits, for tests that need trained networks."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from onepixel.datasets import load_dataset
from onepixel.populations import Recipe, SignatureRecipe, Thresholds, TrainingRecipe, build_slot
from onepixel.populations.store import Finished
from onepixel.trojan import AttackRecipe, TriggerRecipe

SMALL_TRIGGER = TriggerRecipe(patterns=(1, 1), height=(2, 2), width=(2, 2), largest_area=0.0625, jitter=1)


def digits_recipe(role: str = "clean", models: int = 4, epochs: float = 4, **changes: Any) -> Recipe:
    """A population that trains in seconds; thresholds are off unless given."""
    settings: dict[str, Any] = {
        "architecture": "digits_cnn",
        "training": TrainingRecipe(epochs=epochs, batch_size=64, learning_rate=1e-2),
        "attack": AttackRecipe(poisoned_images=150, bystanders=50),
        "trigger": SMALL_TRIGGER,
        "signature": SignatureRecipe(values=8),
        "thresholds": Thresholds(enforced=False),
        **changes,
    }
    return Recipe(name=f"digits-{role}", role=role, dataset="digits", models=models, **settings)


class InProcess:
    """An executor without processes, so that a test need not wait for their start."""

    def run(self, recipe: Recipe, slots: Sequence[int]) -> Iterator[Finished]:
        """Build the slots one after the other."""
        dataset = load_dataset(recipe.dataset)
        return (build_slot(recipe, slot, dataset) for slot in slots)


LOGS = {"build.log"}


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a store by its name, but for the log that no comparison reads."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.name not in LOGS}
