"""ICLR Table 5 (appendix A.3): which ways of inserting a backdoor work. LeNet-5 on MNIST, source 0, target 1.

One or several patterns, of one size or shrunken anew for every image, in one place, jittered around it, or anywhere;
beside the paper's rows, networks whose every training image carried a pattern of its own, so that test patterns are
always others than the training ones. Thresholds are off: attacks that fail are the point.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from onepixel.datasets import load_dataset
from onepixel.errors import UsageError
from onepixel.experiments.declared import Cells, Experiment, ExperimentOptions, Laboratory, Result, Said
from onepixel.populations import (
    Executor,
    LocalExecutor,
    Recipe,
    Store,
    ZooPopulation,
    build,
    known_recipe,
    open_population,
)
from onepixel.populations.models import has
from onepixel.populations.names import STARTS, PopulationName
from onepixel.populations.training import draw, evaluate
from onepixel.progress import progress_bar
from onepixel.report.tables import mean, percent, spread, table_of
from onepixel.trojan import PatchTrigger, TriggerRecipe

PAPER: dict[str, tuple[float, float] | None] = {
    "single-fixed": (99.81, 99.03),
    "single-size": (97.12, 96.23),
    "single-size-local": (97.81, 95.40),
    "single-size-global": (92.37, 31.00),
    "multiple-fixed": (99.06, 98.94),
    "multiple-size": (97.66, 96.23),
    "multiple-size-local": (97.81, 96.49),
    "multiple-size-global": (91.75, 27.01),
    "per-image-fixed": None,
    "per-image-size": None,
    "per-image-size-local": None,
    "per-image-size-global": None,
}
"""Model accuracy and attack success in percent, as printed, by row: the paper's eight, and ours.

The recipe of a row is `DATASET-table5-ROW`. The paper gives no sizes, and no number where patterns are several.
"""


def recipe_of(dataset: str, row: str) -> Recipe:
    """The recipe of one row's population."""
    return known_recipe(f"{dataset}-table5-{row}")


def patches_of(recipe: Recipe) -> TriggerRecipe:
    """What its patches are like."""
    assert isinstance(recipe.trigger, TriggerRecipe)
    return recipe.trigger


@dataclass(frozen=True)
class Row:
    """One row's outcome, a value per network; shares in [0, 1].

    Attributes
    ----------
    name : str
    patches : TriggerRecipe
    clean_accuracy, attack_success : list of float
    with_other_patterns : list of float
        Attack success with test patterns that were not trained on, at the same places; empty where the weights are
        not at hand.
    """

    name: str
    patches: TriggerRecipe
    clean_accuracy: list[float]
    attack_success: list[float]
    with_other_patterns: list[float]


def build_rows(folders: Mapping[Path, Recipe], executor: Executor, advance: Callable[[int], None]) -> None:
    """Build what is missing of each row's population."""
    for folder, recipe in folders.items():
        advance(len(list(Store.open(folder).records())) if (folder / "recipe.toml").is_file() else 0)
        build(recipe, folder, executor=executor, report=lambda progress: advance(1))


def tabulate(name: str, patches: TriggerRecipe, folder: Path) -> Row:
    """Read one row from a store, or a population of a zoo; one that is not there is a row without networks."""
    if not (folder / "recipe.toml").is_file():
        return Row(name, patches, [], [], [])
    population = open_population(folder)
    records = list(population.records())
    others = [] if isinstance(population, ZooPopulation) else success_with_other_patterns(population)
    return Row(name, patches, [one.clean_accuracy for one in records], [one.attack_success for one in records], others)


def success_with_other_patterns(store: Store) -> list[float]:
    """Attack success of each network when every test image carries a new pattern, in slot order."""
    dataset = load_dataset(store.recipe.dataset)
    found = []
    for record in store.records():
        draws = draw(store.recipe, dataset, record.seed)
        if not isinstance(draws.trigger, PatchTrigger):
            raise UsageError(f"{store.folder} holds networks whose triggers are no patches.")
        others = replace(draws, trigger=draws.trigger.with_other_patterns())
        found.append(evaluate(store.module(record.slot, dataset.classes), dataset, others).attack_success)
    return found


def chosen_rows(only: Sequence[str]) -> list[str]:
    """The rows of these names; all where there are none.

    Raises
    ------
    UsageError
        If a name is no row's.
    """
    for name in only:
        if name not in PAPER:
            raise UsageError(f"Expected one of {', '.join(PAPER)} for a row of Table 5 but got {name!r}.")
    return [name for name in PAPER if name in only or not only]


def signed_somehow(zoo: Path, name: str) -> PopulationName:
    """The name under which a zoo has these networks, whatever their signatures start from; their records are alike."""
    networks = PopulationName.parse(name)
    signed = [replace(networks, start=start) for start in STARTS.values()]
    return next((one for one in signed if has(zoo, one)), networks)


class Options(ExperimentOptions):
    """Options of `onepixel experiment table5`."""

    dataset: Annotated[Literal["mnist", "digits"], Field(description="digits needs no download.")] = "mnist"
    models: Annotated[int, Field(ge=1, description="Networks per row.")] = 5
    rows: Annotated[
        tuple[str, ...],
        Field(description="Only this row, such as single-fixed; may be repeated."),
        Said(flag="--row", metavar="NAME"),
    ] = ()
    train: Annotated[bool, Field(description="Train what is missing, or tabulate what is there.")] = True
    from_zoo: Annotated[
        bool, Field(description="Train no network, tabulate the populations of the zoo instead of the stores.")
    ] = False
    stores: Annotated[
        Path,
        Field(description="Where the populations are kept, one folder per row of the table."),
        Said(metavar="FOLDER", when_changed=True),
    ] = Path("populations/table5")
    executor: Annotated[
        Any, Field(description="Where networks are trained; one process per core unless given."), Said(hidden=True)
    ] = None


def find(options: Options, laboratory: Laboratory) -> Result[list[Row]]:
    """Build the populations, or read those of a zoo, without the column that needs weights."""
    names, zoo = chosen_rows(options.rows), laboratory.zoo
    recipes = [recipe_of(options.dataset, name).model_copy(update={"models": options.models}) for name in names]
    folders = [options.stores / name for name in names]
    if options.from_zoo:
        folders = [signed_somehow(zoo, recipe.name).folder(zoo) for recipe in recipes]
        if not any(has(zoo, folder.name) for folder in folders):
            raise UsageError(f"{zoo} has no population of Table 5, such as {folders[0].name}.")
    elif options.train:
        executor = options.executor or LocalExecutor(laboratory.workers)
        with progress_bar("Table 5", len(names) * options.models, "models", enabled=laboratory.progress) as advance:
            build_rows(dict(zip(folders, recipes, strict=True)), executor, advance)
    rows = [tabulate(*row) for row in zip(names, map(patches_of, recipes), folders, strict=True)]
    about = f"{options.dataset}-zoo" if options.from_zoo else options.dataset
    return Result.of(rows, about, map(for_machines, rows), as_markdown(rows, options.dataset))


EXPERIMENT = Experiment(
    "table5",
    "Which ways of inserting a backdoor work (ICLR appendix A.3, Table 5); killed, it goes on where it was.",
    Options,
    find,
    paper="ICLR Table 5",
    plan=lambda whole: [Options(from_zoo=True)],
)


def for_machines(row: Row) -> Cells:
    """Means and standard deviations as shares; empty where there is nothing."""
    about: Cells = {"row": row.name, "models": len(row.clean_accuracy)}
    told = (row.clean_accuracy, row.attack_success, row.with_other_patterns)
    for name, values in zip(("clean_accuracy", "attack_success", "success_with_other_patterns"), told, strict=True):
        about |= {f"{name}_mean": mean(values), f"{name}_sd": spread(values)}
    accuracy, success = (percentage and percentage / 100 for percentage in PAPER[row.name] or (None, None))
    return about | {"paper_accuracy": accuracy, "paper_attack_success": success}


def patterns_of(patches: TriggerRecipe) -> str:
    """How many patterns a network's triggers have, in the table's words."""
    if patches.fresh_patterns:
        return "one per image"
    return "single" if patches.patterns == (1, 1) else "multiple"


def cells(row: Row) -> Cells:
    """One row for people."""
    accuracy, success = ("-", "-") if (said := PAPER[row.name]) is None else (f"{value:.2f}" for value in said)
    return {
        "patterns": patterns_of(row.patches),
        "change size": "yes" if row.patches.resize_each_image else "no",
        "location": row.patches.placement,
        "models": len(row.clean_accuracy),
        "accuracy (%)": percent(row.clean_accuracy),
        "paper's accuracy": accuracy,
        "attack success (%)": percent(row.attack_success),
        "paper's success": success,
        "with other patterns (%)": percent(row.with_other_patterns),
    }


def as_markdown(rows: Sequence[Row], dataset: str) -> str:
    """The table for people."""
    recipe = recipe_of(dataset, "multiple-size-local")
    fixed, trigger = (patches_of(one) for one in (recipe_of(dataset, "single-fixed"), recipe))
    return f"""# Table 5: ways of inserting a backdoor, {recipe.architecture} on {dataset}

Source class 0, target class 1, {recipe.attack.poisoned_images} poisoned images beside the training set, thresholds off.
Patterns are random noise: {fixed.height[0]} x {fixed.width[0]} pixels, or, where the size changes, {trigger.height[0]}
to {trigger.height[1]} high and wide and shrunken anew for every image, {trigger.largest_area:.2%} of the image at the
most; "multiple" is {trigger.patterns[0]} patterns. A location is one place per model (fixed), that place
± {trigger.jitter} pixels per image (local), or anywhere (global). Attack success is the share of stamped test images
of class 0 that are called 1, stamped as in training, and, in the last column, with patterns that were not trained on.
Mean ± standard deviation over the models. The paper does not say over how many models its numbers are, nor its sizes.

{table_of(map(cells, rows))}
"""
