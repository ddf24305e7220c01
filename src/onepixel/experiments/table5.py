"""ICLR Table 5 (appendix A.3): which ways of inserting a backdoor work. LeNet-5 on MNIST, source 0, target 1.

One or several patterns, of one size or shrunken anew for every image, in one place, jittered around it, or anywhere;
beside the paper's rows, networks whose every training image carried a pattern of its own, so that test patterns are
always others than the training ones. Thresholds are off: attacks that fail are the point.
"""

from collections.abc import Callable, Sequence
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
    Thresholds,
    TrainingRecipe,
    ZooPopulation,
    build,
    open_population,
)
from onepixel.populations.models import has
from onepixel.populations.names import STARTS, PopulationName
from onepixel.populations.training import draw, evaluate
from onepixel.progress import progress_bar
from onepixel.report.tables import markdown_table, mean, percent, spread
from onepixel.trojan import AttackRecipe, PatchTrigger, Range, TriggerRecipe

Patterns = Literal["single", "multiple", "one per image"]


@dataclass(frozen=True)
class Strategy:
    """One row of the table.

    Attributes
    ----------
    name : str
        The row's folder among the stores, and its recipe's name.
    patterns : {"single", "multiple", "one per image"}
    change_size : bool
    location : {"fixed", "local", "global"}
    paper : (float, float) or None
        Model accuracy and attack success rate in percent, as printed.
    """

    name: str
    patterns: Patterns
    change_size: bool
    location: Literal["fixed", "local", "global"]
    paper: tuple[float, float] | None = None


STRATEGIES = (
    Strategy("single-fixed", "single", False, "fixed", (99.81, 99.03)),
    Strategy("single-size", "single", True, "fixed", (97.12, 96.23)),
    Strategy("single-size-local", "single", True, "local", (97.81, 95.40)),
    Strategy("single-size-global", "single", True, "global", (92.37, 31.00)),
    Strategy("multiple-fixed", "multiple", False, "fixed", (99.06, 98.94)),
    Strategy("multiple-size", "multiple", True, "fixed", (97.66, 96.23)),
    Strategy("multiple-size-local", "multiple", True, "local", (97.81, 96.49)),
    Strategy("multiple-size-global", "multiple", True, "global", (91.75, 27.01)),
    Strategy("per-image-fixed", "one per image", False, "fixed"),
    Strategy("per-image-size", "one per image", True, "fixed"),
    Strategy("per-image-size-local", "one per image", True, "local"),
    Strategy("per-image-size-global", "one per image", True, "global"),
)
"""The paper's eight rows, and ours."""


@dataclass(frozen=True)
class Scale:
    """What depends on the data set.

    Attributes
    ----------
    side : int
        Height and width of a pattern, pixels, where the size does not change.
    sides : (int, int)
        Smallest and largest height and width where it does.
    largest_area : float
    jitter : int
    """

    dataset: str
    architecture: str
    training: TrainingRecipe
    attack: AttackRecipe
    side: int
    sides: Range
    largest_area: float
    jitter: int


SCALES = {
    "mnist": Scale(
        "mnist", "lenet5", TrainingRecipe(), AttackRecipe(source=0, target=1), 4, (3, 6), largest_area=0.03, jitter=2
    ),
    "digits": Scale(
        "digits",
        "digits_cnn",
        TrainingRecipe(epochs=4, batch_size=64, learning_rate=1e-2),
        AttackRecipe(source=0, target=1, poisoned_images=150),
        2,
        (1, 3),
        largest_area=0.0625,
        jitter=1,
    ),
}
"""The paper's, which gives no sizes (ours keep to its 3 % of the image), and one that needs no download."""

SEVERAL = 3
"""Patterns of a row with multiple patterns; the paper gives no number."""


def recipe_of(strategy: Strategy, scale: Scale, models: int) -> Recipe:
    """The recipe of one row's population."""
    sides = scale.sides if strategy.change_size else (scale.side, scale.side)
    count = SEVERAL if strategy.patterns == "multiple" else 1
    trigger = TriggerRecipe(
        patterns=(count, count),
        height=sides,
        width=sides,
        largest_area=scale.largest_area,
        resize_each_image=strategy.change_size,
        fresh_patterns=strategy.patterns == "one per image",
        placement=strategy.location,
        jitter=scale.jitter,
    )
    return Recipe(
        name=f"{scale.dataset}-table5-{strategy.name}",
        role="trojaned",
        dataset=scale.dataset,
        architecture=scale.architecture,
        models=models,
        training=scale.training,
        attack=scale.attack,
        trigger=trigger,
        thresholds=Thresholds(enforced=False),
    )


@dataclass(frozen=True)
class Row:
    """One row's outcome, a value per network; shares in [0, 1].

    Attributes
    ----------
    strategy : Strategy
    clean_accuracy, attack_success : list of float
    with_other_patterns : list of float
        Attack success with test patterns that were not trained on, at the same places; empty where the weights are
        not at hand.
    """

    strategy: Strategy
    clean_accuracy: list[float]
    attack_success: list[float]
    with_other_patterns: list[float]


def build_rows(
    strategies: Sequence[Strategy],
    scale: Scale,
    models: int,
    stores: Path,
    executor: Executor,
    advance: Callable[[int], None],
) -> None:
    """Build what is missing of each row's population, in a folder of the row's name."""
    for strategy in strategies:
        folder = stores / strategy.name
        advance(len(list(Store.open(folder).records())) if (folder / "recipe.toml").is_file() else 0)
        build(recipe_of(strategy, scale, models), folder, executor=executor, report=lambda progress: advance(1))


def tabulate(strategy: Strategy, folder: Path) -> Row:
    """Read one row from a store, or a population of a zoo; one that is not there is a row without networks."""
    if not (folder / "recipe.toml").is_file():
        return Row(strategy, [], [], [])
    population = open_population(folder)
    records = list(population.records())
    others = [] if isinstance(population, ZooPopulation) else success_with_other_patterns(population)
    return Row(
        strategy, [record.clean_accuracy for record in records], [record.attack_success for record in records], others
    )


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


def chosen_strategies(only: Sequence[str]) -> list[Strategy]:
    """The rows of these names; all where there are none.

    Raises
    ------
    UsageError
        If a name is no row's.
    """
    names = [strategy.name for strategy in STRATEGIES]
    for name in only:
        if name not in names:
            raise UsageError(f"Expected one of {', '.join(names)} for a row of Table 5 but got {name!r}.")
    return [strategy for strategy in STRATEGIES if strategy.name in only or not only]


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
    strategies, scale, zoo = chosen_strategies(options.rows), SCALES[options.dataset], laboratory.zoo
    folders = {strategy: options.stores / strategy.name for strategy in strategies}
    if options.from_zoo:
        names = {strategy: recipe_of(strategy, scale, options.models).name for strategy in strategies}
        folders = {strategy: signed_somehow(zoo, name).folder(zoo) for strategy, name in names.items()}
        if not any(has(zoo, folder.name) for folder in folders.values()):
            raise UsageError(f"{zoo} has no population of Table 5, such as {next(iter(folders.values())).name}.")
    elif options.train:
        executor = options.executor or LocalExecutor(laboratory.workers)
        total = len(strategies) * options.models
        with progress_bar("Table 5", total, "models", enabled=laboratory.progress) as advance:
            build_rows(strategies, scale, options.models, options.stores, executor, advance)
    rows = [tabulate(strategy, folder) for strategy, folder in folders.items()]
    name = f"{options.dataset}-zoo" if options.from_zoo else options.dataset
    return Result.of(rows, name, map(for_machines, rows), as_markdown(rows, scale))


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
    about: Cells = {"row": row.strategy.name, "models": len(row.clean_accuracy)}
    told = {
        "clean_accuracy": row.clean_accuracy,
        "attack_success": row.attack_success,
        "success_with_other_patterns": row.with_other_patterns,
    }
    for name, values in told.items():
        about |= {f"{name}_mean": mean(values), f"{name}_sd": spread(values)}
    accuracy, success = row.strategy.paper or (None, None)
    return about | {"paper_accuracy": as_share(accuracy), "paper_attack_success": as_share(success)}


def as_share(percentage: float | None) -> float | None:
    """What the paper prints, in [0, 1]."""
    return None if percentage is None else percentage / 100


def as_markdown(rows: Sequence[Row], scale: Scale) -> str:
    """The table for people."""
    lines = []
    for row in rows:
        strategy = row.strategy
        papers = ("-", "-") if strategy.paper is None else tuple(f"{value:.2f}" for value in strategy.paper)
        what = [strategy.patterns, "yes" if strategy.change_size else "no", strategy.location, len(row.clean_accuracy)]
        accuracy, success = percent(row.clean_accuracy), percent(row.attack_success)
        lines.append([*what, accuracy, papers[0], success, papers[1], percent(row.with_other_patterns)])
    head = ["patterns", "change size", "location", "models", "accuracy (%)", "paper", "attack success (%)", "paper"]
    head.append("with other patterns (%)")
    return f"""# Table 5: ways of inserting a backdoor, {scale.architecture} on {scale.dataset}

Source class 0, target class 1, {scale.attack.poisoned_images} poisoned images beside the training set, thresholds off.
Patterns are random noise: {scale.side} x {scale.side} pixels, or, where the size changes, {scale.sides[0]} to
{scale.sides[1]} high and wide and shrunken anew for every image, {scale.largest_area:.2%} of the image at the most;
"multiple" is {SEVERAL} patterns. A location is one place per model (fixed), that place ± {scale.jitter} pixels per
image (local), or anywhere (global). Attack success is the share of stamped test images of class 0 that are called 1,
stamped as in training, and, in the last column, with patterns that were not trained on. Mean ± standard deviation
over the models. The paper does not say over how many models its numbers are, nor its sizes.

{markdown_table(head, lines)}
"""
