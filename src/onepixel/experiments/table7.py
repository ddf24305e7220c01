"""ICLR Table 7 (appendix A.7): accuracy of clean networks per architecture and data set."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from onepixel.errors import UsageError
from onepixel.experiments.declared import Cells, Experiment, ExperimentOptions, Laboratory, Result, Said
from onepixel.populations import Record, open_population
from onepixel.report.tables import mean, percent, spread, table_of

PAPER = {
    ("mnist", "lenet5"): (98.94, 0.20),
    ("mnist", "resnet8"): (99.12, 0.39),
    ("mnist", "alexnet"): (99.00, 0.26),
    ("mnist", "vgg10"): (99.03, 0.31),
    ("fashion_mnist", "lenet5"): (90.92, 0.34),
    ("fashion_mnist", "resnet8"): (91.85, 0.30),
    ("fashion_mnist", "alexnet"): (89.96, 0.58),
}
"""Mean and what stands after its "±", in percent, over 250 networks per cell."""


@dataclass(frozen=True)
class Cell:
    """One data set and architecture.

    Attributes
    ----------
    dataset, architecture : str
    accuracy : list of float
        Of the network that each slot kept, in [0, 1].
    first_attempt : list of float
        Of the network that each slot trained first, which no threshold selected.
    """

    dataset: str
    architecture: str
    accuracy: list[float]
    first_attempt: list[float]


def clean_records(folders: Iterable[Path]) -> dict[tuple[str, str], list[Record]]:
    """Read every clean population directly below the folders, by data set and architecture.

    A population that is found twice, in a store and in a zoo, counts once.

    Raises
    ------
    UsageError
        If there is no clean population.
    """
    found: dict[tuple[str, str], dict[tuple[str, int], Record]] = {}
    for recipe_path in (path for folder in folders for path in sorted(folder.glob("*/recipe.toml"))):
        population = open_population(recipe_path.parent)
        recipe = population.recipe
        if recipe.role == "clean":
            cell = found.setdefault((recipe.dataset, recipe.architecture), {})
            cell.update({(recipe.digest(), record.slot): record for record in population.records()})
    if not found:
        raise UsageError("There is no clean population in " + " or ".join(str(folder) for folder in folders) + ".")
    return {cell: list(records.values()) for cell, records in found.items()}


def first_accuracy(record: Record) -> float:
    """Clean accuracy of a slot's first attempt."""
    return record.failures[0][0] if record.failures else record.clean_accuracy


class Options(ExperimentOptions):
    """Options of `onepixel experiment table7`."""

    stores: Annotated[Path | None, Field(description="A folder of stores to be read too."), Said(metavar="FOLDER")] = (
        None
    )


def find(options: Options, laboratory: Laboratory) -> Result[list[Cell]]:
    """Read the clean populations of the zoo, and of stores."""
    records = clean_records([laboratory.zoo, *([] if options.stores is None else [options.stores])])
    others = [cell for cell in records if cell not in PAPER]
    cells = [
        Cell(
            *cell,
            [record.clean_accuracy for record in records.get(cell, [])],
            [first_accuracy(record) for record in records.get(cell, [])],
        )
        for cell in [*PAPER, *others]
    ]
    return Result.of(cells, "table7", map(for_machines, cells), as_markdown(cells))


EXPERIMENT = Experiment(
    "table7",
    "Accuracy of clean networks per architecture and data set (ICLR appendix A.7, Table 7).",
    Options,
    find,
    paper="ICLR Table 7",
    plan=lambda whole: [Options()],
    workers=False,
)


def for_machines(cell: Cell) -> Cells:
    """Means and standard deviation as shares; empty where there is nothing."""
    paper = PAPER.get((cell.dataset, cell.architecture))
    return {
        "dataset": cell.dataset,
        "architecture": cell.architecture,
        "models": len(cell.accuracy),
        "accuracy_mean": mean(cell.accuracy),
        "accuracy_sd": spread(cell.accuracy),
        "first_attempt_mean": mean(cell.first_attempt),
        "paper": None if paper is None else paper[0] / 100,
    }


def as_markdown(cells: Sequence[Cell]) -> str:
    """The table for people."""
    table = table_of(
        {
            "data set": cell.dataset,
            "architecture": cell.architecture,
            "models": len(cell.accuracy),
            "accuracy (%)": percent(cell.accuracy),
            "first attempts (%)": percent(cell.first_attempt),
            "paper (%)": None if paper is None else f"{paper[0]:.2f} ± {paper[1]:.2f}",
        }
        for cell in cells
        for paper in [PAPER.get((cell.dataset, cell.architecture))]
    )
    return f"""# Table 7: accuracy of clean networks

On the data set's test part; mean ± standard deviation over the models. A network below its recipe's threshold is
trained again, which lifts the mean and narrows the spread: the column of first attempts is what the training gives
before any such choice. The paper's numbers are over 250 networks per cell; what its "±" means, it does not say.

{table}
"""
