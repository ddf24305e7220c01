"""`onepixel experiment`: repeat a table or a figure of the papers."""

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Repeat a table or a figure of the papers.")

Output = Annotated[Path, typer.Option(metavar="FOLDER", help="Where the results are written.")]
Zoo = Annotated[Path, typer.Option("--from-zoo", metavar="FOLDER", help="Where the populations are; none is trained.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]


@app.command()
def figure8(
    output: Output = Path("results/figure8"),
    seed: Seed = 0,
    dataset: Annotated[str, typer.Option(help="mnist, or digits, which needs no download.")] = "mnist",
    images: Annotated[int, typer.Option(min=10, help="Training images for the estimators.")] = 3000,
    values: Annotated[int, typer.Option(min=2, help="Size of the value grid.")] = 64,
) -> None:
    """Signatures of classifiers that are no networks (ICLR appendix A.2, Figure 8)."""
    from onepixel.experiments.figure8 import run

    run(output, seed=seed, dataset=dataset, images=images, values=values, progress=True)
    typer.echo(f"{output}")


@app.command()
def table2(
    output: Output = Path("results/table2"),
    zoo: Zoo = Path("zoo"),
    prefix: Annotated[str, typer.Option(help="Data set and architecture, as population names begin.")] = "mnist-lenet5",
    pool: Annotated[Literal["development", "final"], typer.Option(help="Which viruses are the test.")] = "development",
    seed: Seed = 0,
    seeds: Annotated[int, typer.Option(min=1, help="How many detector seeds.")] = 3,
) -> None:
    """Vaccine-trained detectors on unseen viruses (ECCV Table 2), with controls and baselines."""
    from onepixel.experiments.table2 import run

    run(output, zoo=zoo, prefix=prefix, pool=pool, seed=seed, seeds=seeds, progress=True)
    typer.echo(f"{output}")


@app.command()
def attacks(
    output: Output = Path("results/attack-types"),
    zoo: Zoo = Path("zoo"),
    prefix: Annotated[str, typer.Option(help="Data set and architecture, as population names begin.")] = "mnist-lenet5",
    seed: Seed = 0,
    seeds: Annotated[int, typer.Option(min=1, help="How many detector seeds.")] = 3,
) -> None:
    """Attack types that no detector saw, attackers who know onepixel, and other default images."""
    from onepixel.experiments.attack_types import run

    outcome = run(output, zoo=zoo, prefix=prefix, seed=seed, seeds=seeds, progress=True)
    for missing in outcome.missing:
        typer.echo(f"{missing.population} is missing: " + " && ".join(missing.commands), err=True)
    typer.echo(f"{output}")


@app.command()
def table5(
    output: Output = Path("results/table5"),
    stores: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where the populations are kept, one folder per row of the table.")
    ] = Path("populations/table5"),
    models: Annotated[int, typer.Option(min=1, help="Networks per row.")] = 5,
    dataset: Annotated[Literal["mnist", "digits"], typer.Option(help="digits needs no download.")] = "mnist",
    row: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this row, such as single-local; may be repeated.")
    ] = None,
    train: Annotated[
        bool, typer.Option("--train/--no-train", help="Train what is missing, or tabulate what is there.")
    ] = True,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one per core unless said otherwise.")] = None,
) -> None:
    """Which ways of inserting a backdoor work (ICLR appendix A.3, Table 5); killed, it goes on where it was."""
    from onepixel.experiments.table5 import run
    from onepixel.populations import LocalExecutor

    executor = LocalExecutor(workers) if train else None
    run(output, stores=stores, models=models, dataset=dataset, only=row or [], executor=executor, progress=True)
    typer.echo(f"{output}")


@app.command()
def table7(
    output: Output = Path("results/table7"),
    zoo: Zoo = Path("zoo"),
    stores: Annotated[Path | None, typer.Option(metavar="FOLDER", help="A folder of stores to be read too.")] = None,
) -> None:
    """Accuracy of clean networks per architecture and data set (ICLR appendix A.7, Table 7)."""
    from onepixel.experiments.table7 import run

    run(output, folders=[zoo] if stores is None else [zoo, stores])
    typer.echo(f"{output}")
