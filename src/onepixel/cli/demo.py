"""`onepixel demo`: the main job from beginning to end on data that needs no download."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Where everything is written.")] = Path("demo"),
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one per core unless said otherwise.")] = None,
) -> None:
    """Train a detector on digit networks, audit networks with unseen triggers, and write a report with an exhibit.

    The networks are judged by their signature alone, and by a handful of real digits.

    Takes about three minutes on two cores. Interrupted, the same command goes on where it was.
    """
    from onepixel.experiments.demo import run

    run(output, workers=workers, say=typer.echo)
