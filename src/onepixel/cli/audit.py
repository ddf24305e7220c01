"""`onepixel audit`: one model, one verdict."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onepixel.cli import options, results, several
from onepixel.cli.task import Asking, Task

if TYPE_CHECKING:
    from onepixel.detectors.exhibit import Exhibit
    from onepixel.detectors.verdict import ImagesAsked, Verdict

result = partial(typer.Option, rich_help_panel="Results")


@options.opens_model
def audit(
    opening: options.Opening,
    more: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL]...", help="More models; or name a folder of them, or a manifest (.toml)."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Images of the domain, ten per class are plenty: a folder with one subfolder per class, a flat "
            "folder, or an .npz. With them any network can be judged. For an object detector: a folder in COCO format.",
        ),
    ] = None,
    resize: Annotated[bool, typer.Option("--resize", help="Resize images that are not of the network's size.")] = False,
    search: Annotated[
        str,
        options.cost(
            metavar="auto|composed|gradient",
            help="With --images: how changes are looked for. composed needs answers only; auto takes the gradient "
            "where there is one.",
        ),
    ] = "auto",
    detector: Annotated[
        str | None,
        typer.Option(
            metavar="NAME_OR_FILE",
            help="Without --images: the detector that judges networks of its own kind, one that is shipped, or a file. "
            "Default: mnist-lenet5. With --images: what `onepixel detector adapt` wrote.",
        ),
    ] = None,
    prior: Annotated[
        float,
        typer.Option(help="The share of trojaned models that you expect, for the probability that this one is."),
    ] = 0.5,
    engine: options.Engine = "auto",
    budget: options.Budget = None,
    report: Annotated[
        Path | None,
        result(metavar="FILE.html", help="Write a report for people; of several models, one each into this folder."),
    ] = None,
    picture: Annotated[
        Path | None,
        result(
            metavar="FILE.png",
            help="Draw the signature, the suspect and the score; of several models, one each into this folder.",
        ),
    ] = None,
    as_json: Annotated[bool, result("--json", help="Print the verdict as JSON.")] = False,
    sarif: Annotated[Path | None, result(metavar="FILE", help="Write the findings as SARIF 2.1.0.")] = None,
    junit: Annotated[Path | None, result(metavar="FILE", help="Write the findings as JUnit XML.")] = None,
    bom: Annotated[Path | None, result(metavar="FILE", help="Write a CycloneDX 1.6 ML-BOM.")] = None,
    quiet: options.Quiet = False,
) -> None:
    """Tell whether a model carries a backdoor.

    With --images, looks for the change that drives these images to one class most cheaply, and shows it. Without, a
    detector judges the one-pixel signature of networks of the kind that it knows. A model file is never trusted: data
    formats are parsed as data, programs (TorchScript, torch.export) run in a sandbox or not at all.

    [bold]Examples[/bold]

    onepixel audit model.onnx --images photos --outputs logits --normalize 0.1307 0.3081 --report audit.html

    onepixel audit weights.safetensors --architecture lenet5 --normalize none --report audit.html

    onepixel audit traced.pt --input-shape 1,28,28 --outputs logits --normalize none --require-sandbox

    onepixel audit detector.pth --architecture fasterrcnn_mobilenet_v3_large_fpn --images scenes

    onepixel audit https://models.example.org/v2/models/digits --images photos --outputs probabilities

    [bold]Exit status[/bold]

    0 no evidence of a backdoor (of the attack families tested), 1 trojaned, 2 wrong usage or no such file,
    3 could not decide (the reason is printed), 4 internal error.
    """
    images_path = None if images is None else str(images)
    task = Task(opening, Asking(images_path, resize, search, detector, engine, budget, prior))
    files = {"sarif": sarif, "junit": junit, "bom": bom}
    options.check_writable(*files.values(), opening.journal)

    def judge(task: Task) -> "Verdict":
        return task.verdict(progress=not quiet)

    tasks = several.several(task, more or [])
    if tasks is not None:
        folders = {"report": several.made_folder(report), "picture": several.made_folder(picture)}
        outcomes = several.audit_all(tasks, judge, quiet=quiet, **folders)
        results.write_findings(outcomes, files)
        typer.echo(results.as_text(outcomes, several=True) if as_json else several.summary(outcomes))
        raise typer.Exit(several.worst(outcomes))
    options.check_writable(report, picture)
    outcome, verdict = results.judged(judge, task)
    results.write_findings([outcome], files)
    if isinstance(verdict, Exception):
        raise verdict
    several.draw(verdict, report, picture)
    typer.echo(results.as_text([outcome], several=False) if as_json else in_words(verdict))
    raise typer.Exit(verdict.exit_status)


def in_words(verdict: "Verdict") -> str:
    """The verdict as a few lines for a terminal."""
    lines = [
        f"{verdict.classifier}: {results.coloured(verdict.decision, verdict.decision)}",
        f"  score          {verdict.score:.4g} (trojaned from {verdict.threshold:.4g} on)",
        f"  p-value        {'not calibrated' if verdict.p_value is None else f'{verdict.p_value:.3g}'}",
        f"  probability    {results.chance(verdict)}",
        f"  most suspect   {suspect(verdict)}",
        f"  detector       {verdict.detector}",
        f"  {'search' if verdict.pixel is None else 'engine'}         {verdict.engine}, {verdict.queries} queries",
        *images_in_words(verdict.images),
        *exhibit_in_words(verdict.exhibit),
        "  assumptions",
        *(f"    - {assumption}" for assumption in verdict.assumptions),
    ]
    return "\n".join(lines)


def suspect(verdict: "Verdict") -> str:
    """Which class stands out, and where."""
    if verdict.pixel is not None:
        row, column = verdict.pixel
        return f"class {verdict.target_class}, pixel ({row}, {column})"
    from onepixel.report import words

    sources = f", from {words.classes(verdict.source_classes)}" if verdict.source_classes else ""
    where = f", {words.place(verdict.place)}" if verdict.place else ""
    return f"class {verdict.target_class}{sources}{where}"


def images_in_words(images: "ImagesAsked | None") -> list[str]:
    """Which images were used, and where folder names and the network's classes disagree."""
    if images is None:
        return []
    counted = (
        f"  images         {images.offered} read; the network is sure of {images.sure}, of {images.classes} classes"
    )
    return [counted, *(f"    - {sentence}" for sentence in images.disagreements)]


def exhibit_in_words(exhibit: "Exhibit | None") -> list[str]:
    """What the network says of a few images, unchanged and changed."""
    if exhibit is None:
        return []
    from onepixel.detectors.exhibit import sentences
    from onepixel.report import words

    where = f" in {words.place(exhibit.place)}" if exhibit.place else ""
    shown = f"  exhibit        {exhibit.family}{where}; {exhibit.driven} of {exhibit.tried} images go to class"
    return [f"{shown} {exhibit.target_class}", *(f"    - {sentence}" for sentence in sentences(exhibit))]
