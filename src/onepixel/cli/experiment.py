"""`onepixel experiment`: repeat a table or a figure of the papers."""

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Repeat a table or a figure of the papers.")

Output = Annotated[Path, typer.Option(metavar="FOLDER", help="Where the results are written.")]
Zoo = Annotated[Path, typer.Option(metavar="FOLDER", help="The zoo: populations without their weights.")]
FromZoo = Annotated[
    bool, typer.Option("--from-zoo", help="Train no network, read the populations of the zoo. Always so here.")
]
Prefix = Annotated[str, typer.Option(help="Data set and architecture, as population names begin.")]
DefaultImage = Annotated[
    str,
    typer.Option(
        "--default-image", metavar="IMAGE", help="The populations that were signed from black, class means, mean, ..."
    ),
]
PoolName = Annotated[
    Literal["development", "final"],
    typer.Option(help="Which viruses are the test. Opening the final pool is written down in results/openings.csv."),
]
TrainingClean = Annotated[
    int | None,
    typer.Option(
        min=2,
        metavar="N",
        help="Clean models that train, from the first on; the others test. Half of them; for the final pool, which "
        "has clean models of its own, all.",
    ),
]
ChoiceFile = Annotated[
    Path | None,
    typer.Option(
        "--choice",
        metavar="FILE.csv",
        help="Where the chosen detector stands; unless said, what `experiment detectors` wrote, from class means "
        "where there is that.",
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Seeds = Annotated[int, typer.Option(min=1, help="How many detector seeds.")]
WorkerCount = Annotated[int | None, typer.Option(min=1, help="Processes; one per core unless said otherwise.")]


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
def detectors(
    output: Output = Path("results/detectors"),
    zoo: Zoo = Path("zoo"),
    from_zoo: FromZoo = True,
    prefix: Prefix = "mnist-lenet5",
    default_image: DefaultImage = "black",
    training_clean: TrainingClean = None,
    seed: Seed = 0,
    repeats: Annotated[int, typer.Option(min=1, help="How many splits, each with other network seeds.")] = 3,
    workers: WorkerCount = None,
) -> None:
    """Choose a detector by cross-validation on clean, stamped and vaccine models; no virus is looked at."""
    from onepixel.experiments.candidates import run
    from onepixel.experiments.models import ending_of

    chosen = run(
        output,
        zoo=zoo,
        prefix=prefix,
        ending=ending_of(default_image),
        clean=training_clean,
        seed=seed,
        repeats=repeats,
        workers=workers,
        progress=True,
    )
    typer.echo(f"{output}: {chosen.name}")


@app.command()
def table2(
    output: Output = Path("results/table2"),
    zoo: Zoo = Path("zoo"),
    from_zoo: FromZoo = True,
    prefix: Prefix = "mnist-lenet5",
    default_image: DefaultImage = "black",
    pool: PoolName = "development",
    triggers: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Viruses with other triggers, such as garments, as populations are named."),
    ] = None,
    training_clean: TrainingClean = None,
    choice: ChoiceFile = None,
    seed: Seed = 0,
    seeds: Seeds = 10,
    workers: WorkerCount = None,
) -> None:
    """Vaccine-trained detectors on unseen viruses (ECCV Table 2), and baselines."""
    from onepixel.experiments.models import ending_of
    from onepixel.experiments.table2 import run

    run(
        output,
        zoo=zoo,
        prefix=prefix,
        ending=ending_of(default_image),
        pool=pool,
        triggers=triggers,
        clean=training_clean,
        choice=choice,
        seed=seed,
        seeds=seeds,
        workers=workers,
        progress=True,
    )
    typer.echo(f"{output}")


@app.command()
def attacks(
    output: Output = Path("results/attack-types"),
    zoo: Zoo = Path("zoo"),
    from_zoo: FromZoo = True,
    prefix: Prefix = "mnist-lenet5",
    training_clean: TrainingClean = None,
    choice: ChoiceFile = None,
    seed: Seed = 0,
    seeds: Seeds = 3,
    workers: WorkerCount = None,
) -> None:
    """Attack types that no detector saw, attackers who know onepixel, and other default images."""
    from onepixel.experiments.attack_types import run

    outcome = run(
        output,
        zoo=zoo,
        prefix=prefix,
        clean=training_clean,
        choice=choice,
        seed=seed,
        seeds=seeds,
        workers=workers,
        progress=True,
    )
    for missing in outcome.missing:
        typer.echo(f"{missing.population} is missing: " + " && ".join(missing.commands), err=True)
    typer.echo(f"{output}")


@app.command()
def controls(
    output: Output = Path("results/controls"),
    zoo: Zoo = Path("zoo"),
    from_zoo: FromZoo = True,
    prefix: Prefix = "mnist-lenet5",
    default_image: DefaultImage = "black",
    pool: PoolName = "development",
    training_clean: TrainingClean = None,
    choice: ChoiceFile = None,
    seed: Seed = 0,
    seeds: Seeds = 10,
    workers: WorkerCount = None,
) -> None:
    """Do detectors see the backdoor or only the stamping? With and without stamped models in training."""
    from onepixel.experiments.controls import run
    from onepixel.experiments.models import ending_of

    run(
        output,
        zoo=zoo,
        prefix=prefix,
        ending=ending_of(default_image),
        pool=pool,
        clean=training_clean,
        choice=choice,
        seed=seed,
        seeds=seeds,
        workers=workers,
        progress=True,
    )
    typer.echo(f"{output}")


@app.command("sample-size")
def sample_size(
    output: Output = Path("results/sample-size"),
    zoo: Zoo = Path("zoo"),
    from_zoo: FromZoo = True,
    prefix: Prefix = "mnist-lenet5",
    default_image: DefaultImage = "black",
    training_clean: TrainingClean = None,
    choice: ChoiceFile = None,
    seed: Seed = 0,
    detectors: Annotated[int, typer.Option(min=1, help="Detectors per size, each on its own subset.")] = 20,
    workers: WorkerCount = None,
) -> None:
    """Detection rate over the number of training pairs."""
    from onepixel.experiments.models import ending_of
    from onepixel.experiments.sample_size import run

    run(
        output,
        zoo=zoo,
        prefix=prefix,
        ending=ending_of(default_image),
        clean=training_clean,
        choice=choice,
        seed=seed,
        detectors=detectors,
        workers=workers,
        progress=True,
    )
    typer.echo(f"{output}")


@app.command()
def sensitivity(
    output: Output = Path("results/sensitivity"),
    zoo: Zoo = Path("zoo"),
    from_zoo: FromZoo = True,
    prefix: Prefix = "mnist-lenet5",
    default_image: DefaultImage = "black",
    training_clean: TrainingClean = None,
    choice: ChoiceFile = None,
    seed: Seed = 0,
    seeds: Seeds = 3,
    workers: WorkerCount = None,
) -> None:
    """What moves the detection rate: trigger size, patterns, placement, poison rate, training, contrast."""
    from onepixel.experiments.models import ending_of
    from onepixel.experiments.sensitivity import run

    run(
        output,
        zoo=zoo,
        prefix=prefix,
        ending=ending_of(default_image),
        clean=training_clean,
        choice=choice,
        seed=seed,
        seeds=seeds,
        workers=workers,
        progress=True,
    )
    typer.echo(f"{output}")


@app.command()
def table3(
    output: Output = Path("results/table3"),
    zoo: Zoo = Path("zoo"),
    from_zoo: FromZoo = True,
    dataset: Annotated[str, typer.Option(help="As population names begin.")] = "mnist",
    architecture: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="May be repeated; lenet5, resnet8 and vgg10 unless said.")
    ] = None,
    default_image: DefaultImage = "black",
    choice: ChoiceFile = None,
    seed: Seed = 0,
    seeds: Seeds = 3,
    workers: WorkerCount = None,
) -> None:
    """Detectors on architectures that they never saw (ECCV Table 3, ICLR Table 2)."""
    from onepixel.experiments.models import ending_of
    from onepixel.experiments.table3 import ARCHITECTURES, run

    run(
        output,
        zoo=zoo,
        dataset=dataset,
        architectures=architecture or ARCHITECTURES[:3],
        ending=ending_of(default_image),
        choice=choice,
        seed=seed,
        seeds=seeds,
        workers=workers,
        progress=True,
    )
    typer.echo(f"{output}")


@app.command()
def starts(
    output: Output = Path("results/starts"),
    zoo: Zoo = Path("zoo"),
    from_zoo: FromZoo = True,
    prefix: Prefix = "mnist-lenet5",
    choice: ChoiceFile = None,
    seed: Seed = 0,
    seeds: Seeds = 3,
    workers: WorkerCount = None,
) -> None:
    """What signatures start from, and on how many intensities: the same networks, signed in several ways."""
    from onepixel.experiments.starts import run

    run(output, zoo=zoo, prefix=prefix, choice=choice, seed=seed, seeds=seeds, workers=workers, progress=True)
    typer.echo(f"{output}")


@app.command()
def rounding(
    output: Output = Path("results/rounding"),
    store: Annotated[
        list[Path] | None,
        typer.Option(metavar="STORE", help="A population with its weights; may be repeated. Else the two examples."),
    ] = None,
    detector: Annotated[
        list[str] | None, typer.Option(metavar="DETECTOR", help="One that is shipped, or a file; may be repeated.")
    ] = None,
) -> None:
    """Does a detector see that the zoo keeps float16 instead of float32?"""
    from onepixel.experiments.rounding import run

    for name, difference in run(output, stores=store or [], detectors=detector or ["mnist-lenet5-black"]):
        share = difference.largest_score / difference.spread
        typer.echo(f"{name}, {difference.source}: scores differ by at most {share:.2g} of their spread.")
    typer.echo(f"{output}")


@app.command("all")
def everything(
    output: Output = Path("results"),
    zoo: Zoo = Path("zoo"),
    from_zoo: FromZoo = True,
    pool: PoolName = "development",
    repeats: Annotated[int, typer.Option(min=1, help="Splits per candidate when a detector is chosen.")] = 1,
    seeds: Seeds = 1,
    detectors: Annotated[int, typer.Option(min=1, help="Detectors per size in the sample-size curve.")] = 1,
    workers: WorkerCount = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
) -> None:
    """Repeat every experiment whose populations are in the zoo, with few seeds each; a line about each."""
    from onepixel.experiments.everything import Effort, run

    run(
        output,
        zoo=zoo,
        pool=pool,
        effort=Effort(repeats, seeds, detectors),
        workers=workers,
        progress=not quiet,
        say=typer.echo,
    )


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
    zoo: Zoo = Path("zoo"),
    from_zoo: Annotated[
        bool,
        typer.Option("--from-zoo", help="Train no network, tabulate the populations of the zoo instead of the stores."),
    ] = False,
    workers: WorkerCount = None,
) -> None:
    """Which ways of inserting a backdoor work (ICLR appendix A.3, Table 5); killed, it goes on where it was."""
    from onepixel.experiments.table5 import run
    from onepixel.populations import LocalExecutor

    executor = LocalExecutor(workers) if train and not from_zoo else None
    run(
        output,
        stores=stores,
        zoo=zoo if from_zoo else None,
        models=models,
        dataset=dataset,
        only=row or [],
        executor=executor,
        progress=True,
    )
    typer.echo(f"{output}")


@app.command()
def table7(
    output: Output = Path("results/table7"),
    zoo: Zoo = Path("zoo"),
    from_zoo: FromZoo = True,
    stores: Annotated[Path | None, typer.Option(metavar="FOLDER", help="A folder of stores to be read too.")] = None,
) -> None:
    """Accuracy of clean networks per architecture and data set (ICLR appendix A.7, Table 7)."""
    from onepixel.experiments.table7 import run

    run(output, folders=[zoo] if stores is None else [zoo, stores])
    typer.echo(f"{output}")
