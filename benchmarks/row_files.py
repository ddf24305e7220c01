"""Rows of a benchmark as a file for machines; needs no more memory than the benchmark, which may measure its own."""

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from onepixel.files import write_text


def write_rows(path: Path, rows: Sequence[Any]) -> None:
    """Write rows, dataclasses of one kind, as CSV; columns are named as their fields."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([one.name for one in fields(rows[0])])
    writer.writerows(astuple(row) for row in rows)
    write_text(path, text.getvalue())
