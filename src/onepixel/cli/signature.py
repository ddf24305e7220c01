"""`onepixel signature`: the signature of one model, as a file and as a picture, without a verdict."""

from pathlib import Path
from typing import Annotated

import typer

from onepixel.cli import options

GRID = "Signature"


@options.opens_model
def signature(
    opening: options.Opening,
    out: Annotated[Path, typer.Option(metavar="FILE.safetensors", help="Where the signature goes.")],
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw it as well (PNG, SVG, PDF).")] = None,
    definition: Annotated[
        str, typer.Option(help="What is drawn: max, largest_change, algorithm1, change or log_odds.")
    ] = "change",
    values: Annotated[
        int, typer.Option(min=2, max=65536, help="V, intensities per pixel.", rich_help_panel=GRID)
    ] = 256,
    default_image: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Intensity of the default image I_o; 0 is black.", rich_help_panel=GRID),
    ] = 0.0,
    stride: Annotated[int, typer.Option(min=1, help="Visit every s-th row and column only.", rich_help_panel=GRID)] = 1,
    engine: options.Engine = "auto",
    budget: options.Budget = None,
    quiet: options.Quiet = False,
) -> None:
    """Compute a model's one-pixel signature and keep it.

    For every class and pixel: the lowest and the highest log-odds while that pixel of the default image takes each of
    the V intensities (Huang et al., ECCV 2020, section 4.1).

    [bold]Examples[/bold]

    onepixel signature model.onnx --outputs logits --normalize none --out model.signature.safetensors --plot model.png

    onepixel signature big.onnx --outputs logits --normalize none --stride 8 --out big.signature.safetensors
    """
    options.check_writable(out, plot, opening.journal)
    engine = options.chosen_engine(engine, budget)
    classifier = opening.classifier()
    import onepixel

    with options.closing(classifier):
        found = onepixel.signature(
            classifier,
            values=values,
            default_image=default_image,
            pixels=stride,
            engine=engine,
            budget=budget,
            progress=not quiet,
        )
    found.save(out)
    if plot is not None:
        found.plot(plot, definition)
    classes, height, width = found.shape
    typer.echo(f"{out}: {classes} classes, {height} x {width} pixels, {found.engine} engine, {found.queries} queries")
    for assumption in options.assumptions(classifier):
        typer.echo(f"  - {assumption}")
