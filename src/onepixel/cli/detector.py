"""`onepixel detector`: train a detector on populations, calibrate it, and measure it."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from onepixel.errors import UsageError

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Train, calibrate and evaluate detectors.")

Clean = Annotated[
    list[Path], typer.Option(metavar="POPULATION", help="Models without a backdoor; may be given several times.")
]
Trojaned = Annotated[
    list[Path], typer.Option(metavar="POPULATION", help="Trojaned models; may be given several times.")
]


@app.command()
def train(
    clean: Clean,
    trojaned: Trojaned,
    output: Annotated[Path, typer.Option(metavar="FILE.safetensors", help="Where to write the detector.")],
    calibration: Annotated[
        list[Path] | None,
        typer.Option(metavar="POPULATION", help="Clean models used for nothing else, for p-values."),
    ] = None,
    hold_back: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="The last N models of the first --clean population calibrate instead of training."
        ),
    ] = 0,
    definition: Annotated[str, typer.Option(help="Definition, or several joined by +.")] = "change",
    reading: Annotated[
        str,
        typer.Option(
            metavar="instances|channels|whole|context|statistics",
            help="How signatures are read, or several joined by +.",
        ),
    ] = "instances",
    scaling: Annotated[
        str,
        typer.Option(
            metavar="global|clean|own",
            help="clean: how unusual a value is among models of --clean; own: each model standardised by itself.",
        ),
    ] = "global",
    mirror: Annotated[bool, typer.Option("--mirror", help="Flip and transpose training signatures.")] = False,
    members: Annotated[int, typer.Option(min=1, help="Networks whose mean score counts.")] = 1,
    epochs: Annotated[int, typer.Option(min=1)] = 40,
    weight_decay: Annotated[float, typer.Option(min=0, help="Of the networks.")] = 1e-3,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Train a detector on clean and trojaned populations (stores, or populations of a zoo).

    Stamped populations carry no backdoor: give them as --clean, so that the detector does not learn to see stamping.

    [bold]Example[/bold]

    onepixel detector train --clean zoo/mnist-lenet5-clean --trojaned zoo/mnist-lenet5-vaccine --output own.safetensors
    """
    import numpy as np

    from onepixel.cli.options import check_writable
    from onepixel.detectors import Detector
    from onepixel.detectors.training_sets import about, labelled, rows_of

    check_writable(output)
    training = labelled(clean, trojaned)
    first = len(rows_of(clean[:1], training.settings))
    if hold_back >= first:
        raise UsageError(f"Of the {first} models in {clean[0]}, {hold_back} cannot be held back.")
    training, held_back = training.hold_back(slice(first - hold_back, first))
    detector = Detector(
        definition=definition,
        reading=reading,
        scaling=scaling,
        mirror=mirror,
        members=members,
        epochs=epochs,
        weight_decay=weight_decay,
        random_state=seed,
    )
    detector.fit(training.rows, training.labels, training.settings, training.default_image)
    detector.fit_guard(training.rows)
    calibrating = [held_back, *([rows_of(calibration, training.settings)] if calibration else [])]
    if sum(map(len, calibrating)):
        detector.calibrate(np.concatenate(calibrating))
    detector.save(output, about(training))
    typer.echo(f"{output}: {detector.describe()}, trained on {training}.")


@app.command()
def adapt(
    architecture: Annotated[str, typer.Option(help="Of the networks to be judged: a name such as lenet5, or random.")],
    output: Annotated[Path, typer.Option(metavar="FILE.json", help="Where to write the calibration.")],
    dataset: Annotated[
        str, typer.Option(metavar="NAME|FILE.npz|FOLDER", help="What the clean networks learn, and are asked about.")
    ] = "mnist",
    clean_networks: Annotated[int, typer.Option(min=3, metavar="N", help="How many are trained.")] = 10,
    epochs: Annotated[float, typer.Option(min=0, help="Passes over the training images.")] = 2.0,
    learning_rate: Annotated[float, typer.Option(min=0, help="The schedule's peak.")] = 8e-3,
    seed: Annotated[int, typer.Option()] = 0,
    search: Annotated[
        str, typer.Option(metavar="gradient|composed", help="How the models to be judged will be searched.")
    ] = "gradient",
    store: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where the networks are kept. Default: beside FILE.json."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress lines.")] = False,
) -> None:
    """Make ten clean networks of your own the universal detector's reference for their kind.

    An audit with images then compares a model with these instead of clean networks of all kinds, which finds more
    where the kind is an easy one to judge. One in eleven clean models of the kind is called trojaned.

    [bold]Example[/bold]

    onepixel detector adapt --architecture lenet5 --dataset mnist --clean-networks 10 --output lenet5.json

    onepixel audit model.onnx --images photos --detector lenet5.json
    """
    from onepixel.cli.options import check_writable
    from onepixel.experiments.adapting import adapt as adapt_detector
    from onepixel.experiments.adapting import own_recipe

    check_writable(output)
    if output.suffix != ".json":
        raise UsageError(f"The calibration is a JSON file; expected FILE.json for --output but got {output.name}.")
    recipe = own_recipe(dataset, architecture, clean_networks, epochs=epochs, learning_rate=learning_rate, seed=seed)
    folder = store or output.with_name(f"{output.stem}-networks")
    count, threshold = adapt_detector(
        recipe,
        folder,
        output,
        search=search,
        report=lambda progress: None if quiet else typer.echo(f"{recipe.name}: {progress}", err=True),
    )
    typer.echo(f"{output}: {count} clean networks of {architecture} on {dataset}; trojaned from {threshold:.4g} on.")


@app.command()
def evaluate(
    detector: Annotated[str, typer.Argument(metavar="DETECTOR", help="One that is shipped, or a file.")],
    clean: Clean,
    trojaned: Trojaned,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Measure a detector on populations: detection rate, AUROC, rates of both errors, cross-entropy; 95 % intervals."""
    from onepixel.detectors import load_detector
    from onepixel.detectors.training_sets import labelled

    found = load_detector(detector)
    models = labelled(clean, trojaned, found.settings_)
    result = found.evaluate(models.rows, models.labels)
    if as_json:
        typer.echo(json.dumps(asdict(result), indent=2))
        return
    typer.echo(f"{found.describe()} on {models}, threshold {found.threshold_:.4g}, 95 % intervals")
    for label, estimate in (
        ("detection rate", result.detection_rate),
        ("AUROC", result.auroc),
        ("true positive rate", result.true_positive_rate),
        ("false positive rate", result.false_positive_rate),
    ):
        typer.echo(f"  {label:20} {estimate}")
    if (told := result.cross_entropy) is not None:
        typer.echo(
            f"  {'cross-entropy':20} {told.value:.3f} [{told.low:.3f}, {told.high:.3f}] nats at a prior of one half"
        )
