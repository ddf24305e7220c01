"""Detectors as files: everything in one safetensors file, no pickle."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import nn

from onepixel.files import atomic_path

FORMAT = "onepixel-detector-1"

FITTED_ARRAYS = (
    "center_",
    "scale_",
    "clean_mean_",
    "clean_deviation_",
    "clean_scores_",
    "trojaned_scores_",
    "calibration_scores_",
    "offsets_",
    "spreads_",
)
"""The fitted attributes that every detector's file holds as arrays."""


def write_detector(
    path: Path, arrays: Mapping[str, NDArray[Any]], networks: Sequence[nn.Module], header: Mapping[str, Any]
) -> None:
    """Write a fitted detector: arrays by name, networks one after the other, and a header in JSON types."""
    tensors = dict(arrays)
    for number, network in enumerate(networks):
        tensors |= {f"network{number}.{key}": value.numpy() for key, value in network.state_dict().items()}
    metadata = {"format": FORMAT, **{key: json.dumps(value) for key, value in header.items()}}
    content = save({key: np.ascontiguousarray(value) for key, value in tensors.items()}, metadata=metadata)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)  # not save_file, whose files nobody else may read
