"""Whether a detector's parameters make sense, said before anything is fitted."""

from collections.abc import Mapping
from typing import Any

from onepixel.detectors.features import parse_definitions
from onepixel.detectors.readings import READINGS
from onepixel.detectors.scaling import SCALINGS
from onepixel.errors import UsageError

LEAST = {"members": 1, "epochs": 1, "batch_size": 1, "folds": 2}


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Check the parameters of a `Detector`, by name.

    Raises
    ------
    UsageError
        If one makes no sense; it says which, and what is expected.
    """
    parse_definitions(parameters["definition"])
    readings = parameters["reading"].split("+")
    if not all(reading in READINGS for reading in readings) or len(set(readings)) < len(readings):
        known = ", ".join(READINGS)
        raise UsageError(f"Expected {known}, or several joined by +, for reading: {parameters['reading']!r}.")
    if parameters["scaling"] not in SCALINGS:
        raise UsageError(f"Expected {', '.join(SCALINGS)} for scaling but got {parameters['scaling']!r}.")
    for name, least in LEAST.items():
        if parameters[name] < least:
            raise UsageError(f"{name} must be at least {least} but is {parameters[name]}.")
