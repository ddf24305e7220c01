"""The command line: `onepixel audit`, `signature`, and a group of commands for everything else.

Each command lives in a module of its own, which is imported when it is used, so that help and usage errors come at
once. Exit statuses: 0 no evidence of a backdoor (or done), 1 trojaned, 2 wrong usage, 3 could not decide,
4 internal error, 130 interrupted.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from onepixel.cli.later import Later, group_of
from onepixel.ending import leave
from onepixel.errors import INTERNAL_ERROR, OnepixelError
from onepixel.printable import one_line
from onepixel.version import __version__

LONGEST_SENTENCE = 1000

COMMANDS = {
    "audit": Later("onepixel.cli.audit", "audit", "Tell whether a model carries a backdoor."),
    "contest": Later(
        "onepixel.cli.contest",
        "contest",
        "Write the probability that a model is trojaned, as contests ask for it (NIST TrojAI).",
        {"ignore_unknown_options": True, "allow_extra_args": True},
    ),
    "signature": Later("onepixel.cli.signature", "signature", "Compute a model's one-pixel signature and keep it."),
    "demo": Later(
        "onepixel.cli.demo",
        "demo",
        "Train a detector on digit networks, audit networks with unseen triggers, and write a report with an exhibit.",
    ),
    "population": Later("onepixel.cli.population", "app", "Build, look at, check and export populations of networks."),
    "detector": Later("onepixel.cli.detector", "app", "Train, calibrate and evaluate detectors."),
    "experiment": Later("onepixel.cli.experiment", "app", "Repeat a table or a figure of the papers."),
}
"""Every command, with the first sentence of its help."""

app = typer.Typer(
    name="onepixel",
    cls=group_of(COMMANDS),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Exit status: 0 no evidence of a backdoor, 1 trojaned, 2 wrong usage, 3 could not decide, 4 internal error.",
)


def show_version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def onepixel(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an internal error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Tells whether an image classifier that somebody else trained carries a backdoor, from its one-pixel signature."""
    if debug:
        os.environ["ONEPIXEL_DEBUG"] = "1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status; every failure is one sentence on standard error."""
    try:
        app(args=joined_normalization(sys.argv[1:] if arguments is None else arguments), prog_name="onepixel")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except OnepixelError as error:
        complain(str(error))
        return error.exit_status
    except Exception as error:
        if os.environ.get("ONEPIXEL_DEBUG"):
            traceback.print_exc()
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        complain(f"onepixel failed, which is a bug in onepixel ({what}); --debug shows where.")
        return INTERNAL_ERROR
    return 0


def run() -> None:
    """The command `onepixel`: run what stands on the command line, and end with its exit status."""
    leave(main())


def complain(sentence: str) -> None:
    """One sentence on standard error; a stranger's words in it can neither break the line nor move the cursor."""
    typer.echo(f"onepixel: {one_line(sentence, LONGEST_SENTENCE)}", err=True)


def joined_normalization(arguments: Sequence[str]) -> list[str]:
    """Make the one or two words after --normalize one argument: "none", or "MEAN STD"."""
    words = list(arguments)
    for place, word in enumerate(words):
        if (
            word == "--normalize"
            and len(words) > place + 2
            and words[place + 1] != "none"
            and " " not in words[place + 1]
        ):
            words[place + 1 : place + 3] = [f"{words[place + 1]} {words[place + 2]}"]
            break
    return words
