"""From signatures to the array that a detector's network sees."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onepixel.errors import DetectorError, UsageError
from onepixel.signatures import DEFINITIONS, Settings, Signature, define

Signatures = Sequence[Signature] | NDArray[np.void]
"""Signatures as values, or as rows (low, high, base) of a store's array."""


def parse_definitions(names: str) -> list[str]:
    """Split "change+log_odds" into its definitions.

    Raises
    ------
    UsageError
        If one of them is unknown.
    """
    parts = names.split("+")
    for part in parts:
        if part not in DEFINITIONS:
            raise UsageError(f"Expected definitions among {', '.join(DEFINITIONS)}, joined by +, but got {names!r}.")
    return parts


def common_settings(signatures: Signatures) -> Settings | None:
    """The settings that all signatures share; None for rows of an array, which do not say.

    Raises
    ------
    DetectorError
        If they differ.
    """
    if isinstance(signatures, np.ndarray):
        return None
    different = {signature.settings for signature in signatures}
    if len(different) > 1:
        raise DetectorError("The signatures were made with different settings and cannot be compared.")
    return next(iter(different), None)


def extremes(signatures: Signatures) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Low and high (N, K, H, W) and base (N, K) of all signatures.

    Raises
    ------
    DetectorError
        If there are none, their shapes differ, or pixels were not visited.
    """
    if len(signatures) == 0:
        raise DetectorError("There are no signatures.")
    if isinstance(signatures, np.ndarray):
        low, high, base = (np.asarray(signatures[name]) for name in ("low", "high", "base"))
    else:
        shapes = {signature.shape for signature in signatures}
        if len(shapes) > 1:
            raise DetectorError(f"The signatures have different shapes: {', '.join(map(str, sorted(shapes)))}.")
        low, high, base = (np.stack([getattr(s, name) for s in signatures]) for name in ("low", "high", "base"))
    if not all(np.isfinite(part).all() for part in (low, high, base)):
        raise DetectorError(
            "A detector needs every pixel, and a signature has some that were not visited or are not finite."
        )
    return low, high, base


def maps(signatures: Signatures, definitions: str) -> NDArray[np.float32]:
    """The signatures under each definition: (N, D, K, H, W)."""
    found = extremes(signatures)
    parts = [define(name, *found) for name in parse_definitions(definitions)]
    return np.stack(parts, axis=1).astype(np.float32)
