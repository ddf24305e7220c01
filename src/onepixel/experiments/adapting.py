"""Clean networks of one's own: trained, measured, and made the universal detector's reference for their kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from onepixel.architectures import architecture as known_architecture
from onepixel.architectures.random import NetworkRecipe
from onepixel.datasets import load_dataset
from onepixel.detectors.adapting import OWN, adapted
from onepixel.detectors.universal_calibration import read_calibrations, write_calibrations
from onepixel.errors import UsageError
from onepixel.experiments.reach_records import measure_store, read_networks
from onepixel.populations import Executor, Progress, Recipe, SignatureRecipe, Store, Thresholds, TrainingRecipe, build
from onepixel.populations.recipe import RANDOM
from onepixel.trojan import TriggerRecipe


def own_recipe(
    dataset: str,
    architecture: str,
    networks: int,
    *,
    epochs: float = TrainingRecipe().epochs,
    learning_rate: float = TrainingRecipe().learning_rate,
    seed: int = 0,
) -> Recipe:
    """The recipe of clean networks of one architecture on one data set, every one of which counts.

    Raises
    ------
    UsageError
        If there is no such data set or architecture.
    """
    load_dataset(dataset)
    drawn: dict[str, Any] = {"network": NetworkRecipe()} if architecture == RANDOM else {}
    if architecture != RANDOM:
        known_architecture(architecture)
    return Recipe(
        name=f"{OWN}-{architecture}-clean",
        role="clean",
        dataset=dataset,
        architecture=architecture,
        models=networks,
        seed=seed,
        training=TrainingRecipe(epochs=epochs, learning_rate=learning_rate),
        trigger=TriggerRecipe(largest_area=1.0),  # clean networks meet none, but small images must have room for it
        signature=SignatureRecipe(computed=False),
        thresholds=Thresholds(enforced=False),
        **drawn,
    )


def adapt(
    recipe: Recipe,
    store: Path,
    output: Path,
    *,
    search: str = "gradient",
    executor: Executor | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> tuple[int, float]:
    """Train the networks of a recipe, or go on where that was interrupted, measure them, and write a calibration.

    Parameters
    ----------
    recipe : Recipe
    store : path
        Where the networks are kept; networks that are there already are not trained again.
    output : path
        The calibration, of one search, for `onepixel audit --detector`.
    search : {"gradient", "composed"}
    executor : Executor, optional
        Where networks are trained.
    report : callable
        Told the `Progress` after each network.

    Returns
    -------
    (int, float)
        How many networks were measured, and the threshold.

    Raises
    ------
    UsageError
        If fewer than three networks can be measured, or the store holds others.
    """
    shipped = read_calibrations()
    if search not in shipped:
        raise UsageError(f"Expected one of {', '.join(shipped)} for search but got {search!r}.")
    build(recipe, store, executor=executor, report=report)
    file = store / f"reaches-{search}.csv"
    for _ in measure_store(Store.open(store), file, search=search):
        pass
    measured = read_networks(file) if file.exists() else []
    found = adapted(shipped[search], [one.counted for one in measured])
    about = {
        "networks": {search: len(measured)},
        "of": f"{recipe.architecture} on {recipe.dataset}",
        "made_by": "onepixel detector adapt",
    }
    write_calibrations(output, {search: found}, about)
    return len(measured), found.threshold
