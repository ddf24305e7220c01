"""A default image's name: checked, as part of a folder's name, and the image that it stands for."""

import re
from contextlib import suppress
from typing import Annotated

from pydantic import BeforeValidator

from onepixel.datasets import Dataset
from onepixel.errors import UsageError
from onepixel.populations.default_images.table import DEFAULT_IMAGES, Image


def checked(named: object) -> float | str:
    """A name in its one form, or an intensity; black is 0, white 1, and noise and image without a number are number 0.

    Raises
    ------
    ValueError
        If it is neither.
    """
    with suppress(ValueError, TypeError):
        if 0 <= (intensity := float(named)) <= 1:  # type: ignore[arg-type]
            return intensity
    if isinstance(named, str) and (parts := re.fullmatch(r"(.+?)( \d{1,9})?", named)) and parts[1] in DEFAULT_IMAGES:
        row, number = DEFAULT_IMAGES[parts[1]], parts[2]
        if row.numbered:
            return row.name + (number or " 0")
        if number is None:
            return row.name if row.intensity is None else row.intensity
    known = ", ".join(f"{row.name} N" if row.numbered else row.name for row in DEFAULT_IMAGES.rows())
    raise ValueError(f"expected {known} or {DEFAULT_IMAGES.besides} but got {named!r}")


DefaultImage = Annotated[float | str, BeforeValidator(checked)]
"""One intensity in [0, 1], or a name in `DEFAULT_IMAGES`, with a number where there are several ("noise 7")."""


def parse_default_image(words: str) -> float | str:
    """Turn a command line's words into a default image's name.

    Raises
    ------
    UsageError
        If they name none.
    """
    try:
        return checked(words)
    except ValueError as error:
        raise UsageError(f"There is no such default image: {error}.") from error


def short_name(named: float | str) -> str:
    """A default image's name as part of a folder's name."""
    if isinstance(named, str):
        return named.replace(" ", "-")
    return next((row.name for row in DEFAULT_IMAGES.rows() if row.intensity == named), f"grey-{named:g}")


def default_image_of(named: float | str, dataset: Dataset) -> Image:
    """The default image that a name stands for: one intensity, or an array (C, H, W) or (K, C, H, W) in [0, 1].

    Raises
    ------
    UsageError
        If the data set has no such image.
    """
    if isinstance(named, float):
        return named
    if named in DEFAULT_IMAGES:
        return DEFAULT_IMAGES[named].make(dataset, 0)
    name, _, number = named.rpartition(" ")
    return DEFAULT_IMAGES[name].make(dataset, int(number))
