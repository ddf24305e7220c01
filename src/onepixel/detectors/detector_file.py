"""Detectors as files: everything in one safetensors file, no pickle."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import nn

from onepixel.array_files import write_array_file

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
    write_array_file(path, FORMAT, tensors, **header)
