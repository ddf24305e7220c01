"""`onepixel audit`: one model, one verdict."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onepixel.cli import options

if TYPE_CHECKING:
    from onepixel.detectors.verdict import Verdict

RESULTS = "Results"


@options.opens_model
def audit(
    opening: options.Opening,
    detector: Annotated[
        str, typer.Option(metavar="NAME_OR_FILE", help="The detector that judges: one that is shipped, or a file.")
    ] = "mnist-lenet5",
    engine: options.Engine = "auto",
    budget: options.Budget = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a report for people.", rich_help_panel=RESULTS)
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png", help="Draw the signature, the suspect and the score.", rich_help_panel=RESULTS
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the verdict as JSON.", rich_help_panel=RESULTS)
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Tell whether a model carries a backdoor.

    Computes the model's one-pixel signature and has a detector judge it. A model file is never trusted: data formats
    are parsed as data, programs (TorchScript, torch.export) run in a sandbox or not at all, nothing is unpickled.

    [bold]Examples[/bold]

    onepixel audit model.onnx --outputs logits --normalize 0.1307 0.3081

    onepixel audit weights.safetensors --architecture lenet5 --normalize none --report audit.html

    onepixel audit traced.pt --input-shape 1,28,28 --outputs logits --normalize none --require-sandbox

    onepixel audit https://models.example.org/v2/models/digits --outputs probabilities --normalize none --budget 20000

    [bold]Exit status[/bold]

    0 no evidence of a backdoor (of the attack families tested), 1 trojaned, 2 wrong usage or no such file,
    3 could not decide (the reason is printed), 4 internal error.
    """
    options.check_writable(report, picture, opening.journal)
    engine = options.chosen_engine(engine, budget)
    classifier = opening.classifier()
    import onepixel

    with options.closing(classifier):
        found = onepixel.load_detector(detector)
        verdict = found.audit(classifier, engine=engine, budget=budget, progress=not quiet)
    verdict = replace(verdict, assumptions=(*verdict.assumptions, *options.assumptions(classifier)))
    if report is not None:
        verdict.report(report)
    if picture is not None:
        verdict.picture(picture)
    typer.echo(json.dumps(verdict.to_dict(), indent=2) if as_json else in_words(verdict))
    raise typer.Exit(verdict.exit_status)


def in_words(verdict: "Verdict") -> str:
    """The verdict as a few lines for a terminal."""
    lines = [
        f"{verdict.classifier}: {verdict.decision}",
        f"  score          {verdict.score:.4g} (trojaned from {verdict.threshold:.4g} on)",
        f"  p-value        {'not calibrated' if verdict.p_value is None else f'{verdict.p_value:.3g}'}",
        f"  most suspect   {suspect(verdict)}",
        f"  detector       {verdict.detector}",
        f"  engine         {verdict.engine}, {verdict.queries} queries",
        "  assumptions",
        *(f"    - {assumption}" for assumption in verdict.assumptions),
    ]
    return "\n".join(lines)


def suspect(verdict: "Verdict") -> str:
    """Which class stands out, and where."""
    if verdict.pixel is None:
        return f"class {verdict.target_class}"
    row, column = verdict.pixel
    return f"class {verdict.target_class}, pixel ({row}, {column})"
