"""The final pool is opened once, and each opening is written down before a score is seen."""

import csv
import io
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from onepixel.files import write_text

_one_at_a_time = Lock()
"""A line is added by writing the ledger anew, and experiments may run side by side."""

HEAD = ["date", "version", "commit", "populations", "detectors", "command"]


def commit() -> str:
    """The commit that is checked out in the current folder, "-" where there is none; "+" marks local changes."""
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return said.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "-"


def record_opening(ledger: Path, populations: Sequence[str], detectors: Sequence[str], command: str) -> None:
    """Append a line to the ledger: when, with which version, which populations for which detectors.

    Raises
    ------
    UsageError
        If it cannot be written.
    """
    from onepixel.version import __version__

    ledger.parent.mkdir(parents=True, exist_ok=True)
    line = io.StringIO()
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
    csv.writer(line, lineterminator="\n").writerow(
        [now, __version__, commit(), " ".join(populations), "; ".join(detectors), command]
    )
    with _one_at_a_time:
        before = ledger.read_text(encoding="utf-8") if ledger.exists() else ",".join(HEAD) + "\n"
        write_text(ledger, before + line.getvalue())
