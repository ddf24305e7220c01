"""Which detector was chosen, as `onepixel experiment detectors` wrote it down for all other experiments."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onepixel.detectors import Detector
from onepixel.errors import UsageError
from onepixel.experiments.models import MAIN

Parameters = dict[str, Any]


@dataclass(frozen=True)
class Choice:
    """The chosen detector: its name in the comparison and its parameters."""

    name: str
    parameters: Parameters


CHOICES = Path("results/detectors")
"""Where `onepixel experiment detectors` writes its comparisons unless told otherwise."""


def usual_choice(prefix: str, folder: Path = CHOICES) -> Path:
    """The comparison from class means, where there is one, else the one from black."""
    paths = [folder / f"{prefix}{ending}.csv" for ending in MAIN]
    return next((path for path in reversed(paths) if path.is_file()), paths[0])


def read_choice(path: Path | None, prefix: str) -> Choice:
    """Read which detector was chosen, which is then used under every default image: `usual_choice` unless said.

    Raises
    ------
    UsageError
        If there is no comparison at this path, or it is damaged.
    """
    path = path or usual_choice(prefix)
    if not path.is_file():
        raise UsageError(f"There is no {path}, where the chosen detector stands: run `onepixel experiment detectors`.")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            chosen = next(row for row in csv.DictReader(file) if row["chosen"] == "yes")
        parameters = json.loads(chosen["parameters"])
        Detector(**parameters)
        return Choice(chosen["candidate"], parameters)
    except (KeyError, ValueError, TypeError, StopIteration) as error:
        raise UsageError(f"{path} names no chosen detector.") from error
