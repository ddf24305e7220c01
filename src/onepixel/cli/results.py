"""Where the results of audits go: files for other tools, and a terminal for people."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onepixel.errors import INTERNAL_ERROR, OnepixelError
from onepixel.findings import WRITERS, Outcome, document
from onepixel.findings.outcome import digest_of
from onepixel.printable import one_line

if TYPE_CHECKING:
    from onepixel.cli.task import Task
    from onepixel.detectors.verdict import Verdict

LONGEST_REASON = 1000
COLOURS = {"trojaned": "1;31", "no evidence of a backdoor": "32", "could not decide": "33"}

Judge = Callable[["Task"], "Verdict"]


def judged(judge: Judge, task: "Task") -> "tuple[Outcome, Verdict | Exception]":
    """Judge one model; a model that cannot be judged gets an outcome too, and the error is given back."""
    started = time.perf_counter()
    digest = None if "://" in task.model else digest_of(Path(task.model))
    found: Verdict | Exception
    try:
        found = judge(task)
        status, verdict, reason = found.exit_status, found.to_dict(), ""
    except OnepixelError as error:
        status, verdict, reason, found = error.exit_status, None, str(error), error
    except Exception as error:  # which must not cost the other models' verdicts
        what = f"onepixel failed, which is a bug in onepixel ({type(error).__name__}: {error})."
        status, verdict, reason, found = INTERNAL_ERROR, None, what, error
    seconds = time.perf_counter() - started
    return Outcome(task.model, status, verdict, one_line(reason, LONGEST_REASON), digest, seconds), found


def write_findings(outcomes: Sequence[Outcome], files: Mapping[str, Path | None]) -> None:
    """Write every file that was asked for, each whole or not at all."""
    from onepixel.files import write_text

    for kind, path in files.items():
        if path is not None:
            write_text(path, WRITERS[kind](outcomes) + "\n")


def as_text(outcomes: Sequence[Outcome], *, several: bool) -> str:
    """What `--json` prints."""
    return json.dumps(document(outcomes, several=several), indent=2)


def chance(verdict: "Verdict") -> str:
    """The probability that the model is trojaned, with its prior, in words."""
    if verdict.probability is None:
        return "not known; the detector has no scores of known models"
    return f"{verdict.probability:.3g} trojaned, from a prior of {verdict.prior:g}"


def coloured(text: str, decision: str) -> str:
    """The text in the colour of a decision, where standard output is a terminal and nobody forbids it (NO_COLOR)."""
    forbidden = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    if forbidden or not sys.stdout.isatty():
        return text
    return f"\x1b[{COLOURS.get(decision, '0')}m{text}\x1b[0m"
