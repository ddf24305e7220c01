"""Tiny recipes on scikit-learn's digits, for tests that need trained networks."""

from typing import Any

from onepixel.populations import Recipe, SignatureRecipe, Thresholds, TrainingRecipe
from onepixel.trojan import AttackRecipe, TriggerRecipe

SMALL_TRIGGER = TriggerRecipe(patterns=(1, 1), height=(2, 2), width=(2, 2), largest_area=0.0625, jitter=1)


def digits_recipe(role: str = "clean", models: int = 4, epochs: float = 4, **changes: Any) -> Recipe:
    """A population that trains in seconds; thresholds are off unless given."""
    settings: dict[str, Any] = {
        "training": TrainingRecipe(epochs=epochs, batch_size=64, learning_rate=1e-2),
        "attack": AttackRecipe(poisoned_images=150, bystanders=50),
        "trigger": SMALL_TRIGGER,
        "signature": SignatureRecipe(values=8),
        "thresholds": Thresholds(enforced=False),
        **changes,
    }
    return Recipe(
        name=f"digits-{role}", role=role, dataset="digits", architecture="digits_cnn", models=models, **settings
    )
