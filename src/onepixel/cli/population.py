"""`onepixel population`: build, look at, check and export populations of trained networks."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from onepixel.errors import StoreError, UsageError

if TYPE_CHECKING:
    from onepixel.populations import Executor

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="rich", help="Build, look at, check and export populations of networks."
)

ExecutorName = Literal["local", "ray", "stacked"]
StoreFolder = Annotated[Path, typer.Argument(metavar="STORE", help="The folder that holds the population.")]
ZooFolder = Annotated[Path, typer.Option(envvar="ONEPIXEL_ZOO", metavar="FOLDER", help="The zoo that gets it.")]


@app.command()
def build(
    recipe: Annotated[
        str, typer.Argument(metavar="NAME|RECIPE.toml", help="What to build, by name or file; see `population recipe`.")
    ],
    store: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to keep it; made where it is not there.")],
    models: Annotated[
        int | None, typer.Option(min=1, help="Another number of models than the recipe says; may grow a population.")
    ] = None,
    first_slot: Annotated[
        int | None,
        typer.Option(
            min=0, help="Where the range of slots begins, to build a population in parts that `export` joins."
        ),
    ] = None,
    executor: Annotated[
        ExecutorName,
        typer.Option(
            help="Where networks are trained: one per core of this machine, on a Ray cluster, or many stacked together "
            "on a GPU (on the CPU where there is none)."
        ),
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes; for local one per core unless said otherwise, for stacked one, each with its own stack.",
        ),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="For ray: the cluster, such as 10.0.0.1:6379 or auto; unless given, the one that RAY_ADDRESS names, "
            "else one that is started on this machine.",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress line.")] = False,
) -> None:
    """Train the networks of a recipe and compute their signatures.

    Interrupt or kill it at any moment: the same command goes on where it was, and what is finished is not built again.

    [bold]Example[/bold]

    onepixel population build mnist-lenet5-clean --store populations/clean
    """
    from onepixel.populations import build as build_population
    from onepixel.populations import recipe_of
    from onepixel.populations.training import computes_bfloat16

    said = {"models": models, "first_slot": first_slot}
    asked = recipe_of(recipe).model_copy(update={name: value for name, value in said.items() if value is not None})
    if asked.training.precision == "bfloat16" and executor == "local" and not computes_bfloat16():
        typer.echo(
            "This processor has no instructions for bfloat16, in which this recipe trains: it will take ten times as "
            "long as float32, or longer.",
            err=True,
        )
    built = build_population(
        asked,
        store,
        executor=chosen_executor(executor, workers, ray_address),
        report=lambda progress: None if quiet else typer.echo(f"{asked.name}: {progress}", err=True),
    )
    failed = [record.slot for record in built.records() if record.status == "failed"]
    typer.echo(f"{asked.name}: {asked.models} models in {store}, {len(failed)} below the recipe's thresholds.")


def chosen_executor(name: ExecutorName, workers: int | None, ray_address: str | None) -> "Executor":
    """The executor that the options of `population build` ask for.

    Raises
    ------
    UsageError
        If an option belongs to another executor, or Ray is not installed.
    """
    from onepixel.populations import LocalExecutor, RayExecutor, StackedExecutor

    if workers is not None and name == "ray":
        raise UsageError("--workers is for --executor local and stacked and means nothing for ray.")
    if ray_address is not None and name != "ray":
        raise UsageError(f"--ray-address is for --executor ray and means nothing for {name}.")
    if name == "ray":
        return RayExecutor(ray_address)
    return StackedExecutor(workers=workers or 1) if name == "stacked" else LocalExecutor(workers)


@app.command()
def show(
    store: StoreFolder,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw accuracies and attack success.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Tell what a population or a population of a zoo holds."""
    from onepixel.populations import open_population
    from onepixel.report.populations import population_table, save_population

    population = open_population(store)
    records = list(population.records())
    if plot is not None:
        save_population(records, population.recipe, plot)
    if as_json:
        content = {"recipe": population.recipe.model_dump(mode="json"), "records": [asdict(r) for r in records]}
        typer.echo(json.dumps(content, indent=2))
    else:
        typer.echo(population_table(records, population.recipe))


@app.command()
def verify(
    store: StoreFolder,
    sample: Annotated[int, typer.Option(min=0, help="Slots whose accuracy and signature are computed again.")] = 3,
    seed: Annotated[int, typer.Option(help="Which slots those are.")] = 0,
) -> None:
    """Check every checksum of a store, and compute a sample of accuracies and signatures again."""
    from onepixel.populations import Store
    from onepixel.populations import verify as verify_store

    found = verify_store(Store.open(store), sample, seed)
    for fault in found.faults:
        typer.echo(fault, err=True)
    if found.faults:
        raise StoreError(f"{store} has {len(found.faults)} fault(s).")
    typer.echo(f"{store}: {found.checked} models checked, {found.recomputed} computed again, all well.")


@app.command()
def export(store: StoreFolder, zoo: ZooFolder) -> None:
    """Copy a population's recipe, table and signatures into a zoo, beside slots of it that the zoo has already."""
    from onepixel.populations import Store
    from onepixel.populations import export as export_population

    typer.echo(f"{export_population(Store.open(store), zoo)}")


@app.command()
def resign(
    store: StoreFolder,
    default_image: Annotated[
        str,
        typer.Option(
            metavar="IMAGE", help="black, white, mean, class means, noise N, image N, or an intensity from 0 to 1."
        ),
    ],
    zoo: ZooFolder,
    values: Annotated[int | None, typer.Option(min=2, help="Another number of intensities per pixel.")] = None,
    name: Annotated[str | None, typer.Option(help="The new population's; the old one's and IMAGE unless said.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one per core unless said otherwise.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Compute the signatures of a store's networks again, under another default image, into a zoo.

    Where an attacker trained against probes that start from black, another start may still show the backdoor.

    [bold]Example[/bold]

    onepixel population resign populations/clean --default-image "class means" --values 32 --zoo zoo
    """
    from onepixel.populations import Store, parse_default_image
    from onepixel.populations import resign as resign_store
    from onepixel.progress import progress_bar

    image = parse_default_image(default_image)
    population = Store.open(store)
    finished = len(list(population.records()))
    with progress_bar(f"signatures of {population.recipe.name}", finished, "models", enabled=not quiet) as advance:
        folder = resign_store(population, image, zoo, values=values, name=name, workers=workers, advance=advance)
    typer.echo(f"{folder}")


@app.command()
def recipe(
    known: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A population that results were made from.")
    ] = None,
    role: Annotated[str, typer.Option(metavar="clean|stamped|trojaned", help="Of a new recipe.")] = "trojaned",
    name: Annotated[str, typer.Option(help="Of a new recipe: the population's name.")] = "my-population",
    listed: Annotated[bool, typer.Option("--list", help="Print every NAME instead.")] = False,
) -> None:
    """Print the recipe of a population in full, or a new one with every setting at its default, to be changed.

    [bold]Example[/bold]

    onepixel population recipe mnist-lenet5-clean > clean.toml
    """
    from onepixel.populations import Recipe, known_populations, known_recipe

    if listed:
        typer.echo("\n".join(known_populations()))
        return
    if role not in ("clean", "stamped", "trojaned"):
        raise UsageError(f"Expected clean, stamped or trojaned for --role but got {role!r}.")
    found = Recipe(name=name, role=role) if known is None else known_recipe(known)
    typer.echo(found.to_toml(), nl=False)
