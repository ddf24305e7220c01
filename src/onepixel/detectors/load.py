"""Detectors are read from files: one that was shipped with onepixel, or one's own."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onepixel.array_files import ArrayFile, array_file
from onepixel.detectors.detector import Detector
from onepixel.detectors.detector_file import FITTED_ARRAYS, FORMAT
from onepixel.detectors.features import parse_definitions
from onepixel.detectors.guard import Guard
from onepixel.detectors.parameters import check_parameters
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
        return _restored(file)


def _restored(file: ArrayFile) -> Detector:
    arrays, threshold = file.arrays, float(file.header["threshold"])
    # With a NaN among them, every score would lie below the threshold, or the threshold above every score.
    if not np.isfinite(threshold) or not all(np.isfinite(array).all() for array in arrays.values()):
        raise ValueError("a detector's numbers are finite")
    detector = Detector(**json.loads(file.header["parameters"]))
    check_parameters(detector.get_params())
    detector.settings_ = Settings(**file.facts_of(Settings, "settings"))
    detector.shape_ = _shape(file)
    detector.threshold_ = threshold
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


def _shape(file: ArrayFile) -> tuple[int, int, int]:
    classes, height, width = shape = json.loads(file.header["shape"])
    if not all(type(size) is int and size > 0 for size in shape):
        raise ValueError("a shape is three numbers above 0")
    return classes, height, width


def _part(arrays: dict[str, NDArray[Any]], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): torch.as_tensor(value) for key, value in arrays.items() if key.startswith(prefix)}
