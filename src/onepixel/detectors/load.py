"""Detectors are read from files: one that was shipped with onepixel, or one's own."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onepixel.array_files import array_file
from onepixel.detectors.detector import Detector
from onepixel.detectors.detector_file import FITTED_ARRAYS, FORMAT
from onepixel.detectors.features import parse_definitions
from onepixel.detectors.guard import Guard
from onepixel.detectors.readings import READINGS
from onepixel.errors import DetectorError, UsageError
from onepixel.signatures import Settings


def load_detector(name_or_path: str | Path) -> Detector:
    """Load a detector that was shipped with onepixel, by name, or one that `Detector.save` wrote, by path.

    Raises
    ------
    UsageError
        If there is no such detector.
    DetectorError
        If the file is damaged or holds no detector.
    """
    shipped = {Path(str(entry)).stem: Path(str(entry)) for entry in files("onepixel.detectors.shipped").iterdir()}
    shipped = {name: path for name, path in shipped.items() if path.suffix == ".safetensors"}
    path = shipped.get(str(name_or_path), Path(name_or_path))
    if not path.is_file():
        raise UsageError(f"There is no detector {name_or_path}; shipped are: {', '.join(sorted(shipped)) or 'none'}.")
    with array_file(path, FORMAT, "detector", DetectorError) as file:
        return _restored(file.arrays, file.header)


def _restored(arrays: dict[str, NDArray[Any]], header: dict[str, str]) -> Detector:
    detector = Detector(**json.loads(header["parameters"]))
    detector.settings_ = Settings(**json.loads(header["settings"]))
    detector.shape_ = tuple(json.loads(header["shape"]))
    detector.threshold_ = float(header["threshold"])
    detector.classes_ = np.array([0, 1])
    for name in FITTED_ARRAYS:
        setattr(detector, name, arrays[name])
    detector.default_image_ = arrays.get("default_image_")
    detector.guard_ = Guard.from_arrays(arrays)
    definitions = len(parse_definitions(detector.definition))
    detector.networks_, number = [], 0
    for reading in detector.readings:
        row = READINGS[reading]
        members = detector.members if row.seeded else 1
        states = [_part(arrays, f"network{number + member}.") for member in range(members)]
        detector.networks_.append([row.restore(state, definitions, detector.shape_).eval() for state in states])
        number += members
    return detector


def _part(arrays: dict[str, NDArray[Any]], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): torch.as_tensor(value) for key, value in arrays.items() if key.startswith(prefix)}
