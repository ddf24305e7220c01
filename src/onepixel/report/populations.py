"""What a population holds, as a few lines of text and as a picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from onepixel.populations import Recipe, Record
from onepixel.report.figures import CLEAN, TROJANED, save_figure


def population_table(records: Sequence[Record], recipe: Recipe) -> str:
    """Counts, accuracies and attack success of a population, for a terminal."""
    failed = sum(record.status == "failed" for record in records)
    retried = sum(record.attempt > 0 for record in records)
    lines = [
        f"{recipe.name}: {recipe.role} {recipe.architecture} on {recipe.dataset}",
        f"  models           {len(records)} of {recipe.models}, {failed} below the thresholds, {retried} retried",
    ]
    for label, name in (("clean accuracy", "clean_accuracy"), ("attack success", "attack_success")):
        values = np.array([getattr(record, name) for record in records])
        if len(values):
            spread = f"mean {values.mean():.2%}, sd {values.std():.2%}, {values.min():.2%} to {values.max():.2%}"
            lines.append(f"  {label}   {spread}")
    lines.append(
        f"  thresholds       clean {recipe.thresholds.clean_accuracy:.1%}, attack success "
        f"{recipe.thresholds.attack_success:.1%}{'' if recipe.thresholds.enforced else ', not enforced'}"
    )
    return "\n".join(lines)


def save_population(records: Sequence[Record], recipe: Recipe, path: str | Path) -> None:
    """Draw every model's clean accuracy against its attack success, those that failed as crosses."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for status, marker, colour in (("passed", "o", CLEAN), ("failed", "x", TROJANED)):
        chosen = [record for record in records if record.status == status]
        points = [[record.clean_accuracy, record.attack_success] for record in chosen]
        if points:
            x, y = 100 * np.array(points).T
            axes.scatter(x, y, marker=marker, color=colour, s=18, alpha=0.7, label=f"{status} ({len(chosen)})")
    axes.axvline(100 * recipe.thresholds.clean_accuracy, color="0.6", lw=0.8, ls="--")
    if recipe.role == "trojaned":
        axes.axhline(100 * recipe.thresholds.attack_success, color="0.6", lw=0.8, ls="--")
    axes.set(xlabel="clean accuracy, %", ylabel="attack success, %", title=recipe.name)
    if records:
        axes.legend()
    save_figure(figure, path)
