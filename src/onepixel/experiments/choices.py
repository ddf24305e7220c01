"""Which detectors are tested: the papers', and the one that `onepixel experiment detectors` chose and wrote down."""

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onepixel.detectors import Detector
from onepixel.errors import UsageError
from onepixel.populations.names import MAIN, PopulationName

Parameters = dict[str, Any]


@dataclass(frozen=True)
class Method:
    """A detector's parameters, or, without any, a baseline; with stamped models among the negatives or not."""

    name: str
    parameters: Parameters | None
    with_stamped: bool = False

    @property
    def stamped(self) -> "Method":
        """The same with stamped models among the negatives."""
        return replace(self, with_stamped=True)


LITERAL: dict[str, Parameters] = {
    "papers, whole, `max`": {"reading": "whole", "shuffle_classes": False, "definition": "max"},
    "papers, whole, `largest_change`": {"reading": "whole", "shuffle_classes": False, "definition": "largest_change"},
    "papers, whole, `algorithm1`": {"reading": "whole", "shuffle_classes": False, "definition": "algorithm1"},
    "papers, single channels, `max`": {"reading": "channels", "definition": "max"},
}
"""The papers' vanilla CNN under the three definitions that their texts allow, and on single channels."""


def papers(*readings: int) -> list[Method]:
    """The papers' CNN in these readings, 0 the first and -1 the last; in all of them unless said."""
    every = [Method(name, parameters) for name, parameters in LITERAL.items()]
    return [every[place] for place in dict.fromkeys(reading % len(every) for reading in readings)] or every


CHOICES = Path("results/detectors")
"""Where `onepixel experiment detectors` writes its comparisons unless told otherwise."""


def usual_choice(networks: PopulationName, folder: Path = CHOICES) -> Path:
    """The comparison from class means, where there is one, else the one from black; else those of who chooses."""
    families = dict.fromkeys((networks, PopulationName.parse(networks.chooser)))
    paths = [folder / f"{replace(family, start=start)}.csv" for family in families for start in reversed(MAIN)]
    return next((path for path in paths if path.is_file()), paths[1])


def read_choice(path: Path | None, networks: PopulationName) -> Method:
    """Read which detector was chosen, which is then used under every default image: `usual_choice` unless said.

    Raises
    ------
    UsageError
        If there is no comparison at this path, or it is damaged.
    """
    path = path or usual_choice(networks)
    if not path.is_file():
        raise UsageError(f"There is no {path}, where the chosen detector stands: run `onepixel experiment detectors`.")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            chosen = next(row for row in csv.DictReader(file) if row["chosen"] == "yes")
        parameters = json.loads(chosen["parameters"])
        Detector(**parameters)
        return Method(f"chosen: {chosen['candidate']}", parameters)
    except (KeyError, ValueError, TypeError, StopIteration) as error:
        raise UsageError(f"{path} names no chosen detector.") from error
