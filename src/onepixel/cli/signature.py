"""`onepixel signature`: the signature of one model, as a file and as a picture, without a verdict."""

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onepixel.cli import options
from onepixel.errors import UsageError
from onepixel.printable import escaped

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

grid = partial(typer.Option, rich_help_panel="Signature")


@options.opens_model
def signature(
    opening: options.Opening,
    out: Annotated[Path, typer.Option(metavar="FILE.safetensors", help="Where the signature goes.")],
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw it as well (PNG, SVG, PDF).")] = None,
    definition: Annotated[
        str, typer.Option(help="What is drawn: max, largest_change, algorithm1, change or log_odds.")
    ] = "change",
    values: Annotated[int, grid(min=2, max=65536, help="V, intensities per pixel.")] = 256,
    default_image: Annotated[
        str,
        grid(
            metavar="VALUE|FILE.npy",
            help="The default image I_o: an intensity (0 is black), or a NumPy file of one image (C, H, W) or of "
            "several (M, C, H, W) in [0, 1].",
        ),
    ] = "0",
    stride: Annotated[int, grid(min=1, help="Visit every s-th row and column only.")] = 1,
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
    image = read_image(default_image)
    classifier = opening.classifier()
    import onepixel

    with options.closing(classifier):
        found = onepixel.signature(
            classifier,
            values=values,
            default_image=image,
            pixels=stride,
            engine=engine,
            budget=budget,
            progress=not quiet,
        )
    found.save(out)
    if plot is not None:
        found.plot(plot, definition)
    classes, height, width = found.shape
    typer.echo(
        f"{escaped(out)}: {classes} classes, {height} x {width} pixels, {found.engine} engine, {found.queries} queries"
    )
    for assumption in options.assumptions(classifier):
        typer.echo(f"  - {assumption}")


def read_image(words: str) -> "float | NDArray[np.float32]":
    """An intensity, or what a .npy file holds; nothing in such a file is run.

    Raises
    ------
    UsageError
        If it is neither a number nor a file of numbers.
    """
    with suppress(ValueError):
        return float(words)
    import numpy as np

    try:
        return np.load(words, allow_pickle=False).astype(np.float32)
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(f"Expected an intensity or a .npy file for --default-image but got {words!r}.") from error
