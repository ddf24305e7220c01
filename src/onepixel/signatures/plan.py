"""What every engine is given (a `Plan`) and what it gives back (`Extremes`)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from onepixel.classifiers import Classifier
from onepixel.errors import BudgetError, UsageError

Advance = Callable[[int], None]
"""Called by an engine with the number of pixels just finished."""

Say = Callable[[str], None]
"""Called by an engine with a sentence for people, such as what a long run will cost."""


def keep_silent(sentence: str) -> None:
    """Say nothing."""


def value_grid(values: int = 256, *, inclusive: bool = False) -> NDArray[np.float32]:
    """The V candidate intensities v / V, v = 0 .. V - 1 (ECCV 2020, Algorithm 1, line 8).

    Parameters
    ----------
    values : int
        V, at least 2.
    inclusive : bool
        v / (V - 1) instead, so that the grid ends at 1.

    Raises
    ------
    UsageError
        If V is less than 2.
    """
    if values < 2:
        raise UsageError(f"A value grid needs at least 2 values but got {values}.")
    return np.arange(values, dtype=np.float32) / np.float32(values - 1 if inclusive else values)


def default_image_array(default_image: float | ArrayLike, input_shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Make the default image I_o (C, H, W) from one intensity or an array.

    Raises
    ------
    UsageError
        If an array has another shape, or a value lies outside [0, 1].
    """
    image = np.asarray(default_image, dtype=np.float32)
    if image.ndim == 0:
        image = np.full(input_shape, image, dtype=np.float32)
    if image.shape != tuple(input_shape):
        raise UsageError(f"Expected a default image of shape {tuple(input_shape)} but got {image.shape}.")
    if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
        raise UsageError("The default image must lie in [0, 1].")
    return image


def default_image_arrays(
    default_image: float | ArrayLike, input_shape: tuple[int, int, int]
) -> list[NDArray[np.float32]]:
    """Make the default images, each (C, H, W), from one intensity, one array, or an array (M, C, H, W) of several.

    Raises
    ------
    UsageError
        As `default_image_array`, or if there is no image at all.
    """
    given = np.asarray(default_image, dtype=np.float32)
    several = list(given) if given.ndim == 4 else [given]
    if not several:
        raise UsageError("Expected at least one default image but got none.")
    return [default_image_array(image, input_shape) for image in several]


def pixel_mask(pixels: int | NDArray[np.bool_] | None, height: int, width: int) -> NDArray[np.bool_]:
    """Which pixels are visited, (H, W): all (None), every s-th row and column (a stride), or a mask itself.

    Raises
    ------
    UsageError
        If the stride is below 1, or the mask has another shape or visits nothing.
    """
    mask = np.zeros((height, width), dtype=bool)
    if pixels is None:
        mask[:] = True
    elif isinstance(pixels, (int, np.integer)) and not isinstance(pixels, bool):
        if pixels < 1:
            raise UsageError(f"A stride of pixels is at least 1 but got {pixels}.")
        mask[::pixels, ::pixels] = True
    else:
        given = np.asarray(pixels)
        if given.dtype != bool or given.shape != (height, width):
            shape = f"{given.dtype} {given.shape}"
            raise UsageError(f"Expected a boolean mask of shape ({height}, {width}) but got {shape}.")
        mask = given.copy()
    if not mask.any():
        raise UsageError("The mask of pixels visits no pixel at all.")
    return mask


@dataclass(frozen=True)
class Shared:
    """A budget that several default images share equally.

    Attributes
    ----------
    images : int
        How many there are.
    budget : int or None
        For all of them together, as it was asked for; None if this image has a budget of its own.
    """

    images: int = 1
    budget: int | None = None


@dataclass(frozen=True)
class Plan:
    """Everything an engine needs to know besides the classifier; tensors have its device and floating type.

    Attributes
    ----------
    default_image : Tensor of shape (C, H, W)
    grid : Tensor of shape (V,)
        All C channels of a pixel are set to a value together.
    pixels : Tensor of shape (P, 2), int64
        Row and column of every pixel to visit, in row-major order.
    batch_size : int or None
        Images per forward pass; None lets the engine choose.
    budget : int or None
        Images that may be asked at most; None for no limit.
    shared : Shared
        Whose budget this is a share of; what is said about it is said of the whole.
    say : callable
        Takes sentences for people while a run is going on.
    """

    default_image: Tensor
    grid: Tensor
    pixels: Tensor
    batch_size: int | None = None
    budget: int | None = None
    shared: Shared = Shared()
    say: Say = keep_silent

    @classmethod
    def make(
        cls,
        classifier: Classifier,
        values: NDArray[np.float32],
        default_image: NDArray[np.float32],
        mask: NDArray[np.bool_],
        batch_size: int | None = None,
        budget: int | None = None,
    ) -> "Plan":
        """Put grid, default image and pixels where the classifier wants its images."""
        if batch_size is not None and batch_size < 1:
            raise UsageError(f"The batch size is at least 1 but got {batch_size}.")
        like: dict[str, Any] = {"device": classifier.device, "dtype": classifier.dtype}
        return cls(
            default_image=torch.as_tensor(default_image).to(**like),
            grid=torch.as_tensor(values).to(**like),
            pixels=torch.as_tensor(np.argwhere(mask), device=classifier.device),
            batch_size=batch_size,
            budget=budget,
        )

    @property
    def cells(self) -> int:
        """P x V: how many (pixel, value) images the definition asks for."""
        return len(self.pixels) * len(self.grid)

    def require(self, queries: int, remedy: str) -> None:
        """Raise unless that many queries fit into the budget; `remedy` says what to do about it.

        Raises
        ------
        BudgetError
            If they do not fit.
        """
        if self.budget is not None and queries > self.budget:
            needed, budget = queries * self.shared.images, self.shared.budget or self.budget
            raise BudgetError(f"The signature needs {needed:,} queries or more but the budget is {budget:,}; {remedy}.")

    def images(self, cells: Tensor) -> Tensor:
        """The images (N, C, H, W) of the given cells; cell n is pixel n // V at value n % V."""
        images = self.default_image.expand(len(cells), -1, -1, -1).clone()
        rows, columns = self.pixels[cells // len(self.grid)].unbind(1)
        numbers = torch.arange(len(cells), device=cells.device)
        images[numbers, :, rows, columns] = self.grid[cells % len(self.grid)][:, None]
        return images


@dataclass(frozen=True)
class Extremes:
    """What an engine found.

    Attributes
    ----------
    low, high : Tensor of shape (K, P)
        Lowest and highest log-odds over the grid, in the order of `Plan.pixels`.
    base : Tensor of shape (K,)
        Log-odds of the default image.
    queries : int
        Images that were answered by the classifier, or forward passes' worth for an engine that looks inside.
    engine : str
        Which engine ran.
    note : str
        Why this engine, where that is not obvious.
    details : dict
        What else an engine has to say (an error estimate, say); JSON types only.
    """

    low: Tensor
    high: Tensor
    base: Tensor
    queries: int
    engine: str
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)


class Engine(Protocol):
    """A way to find the extremes over the value grid."""

    def __call__(self, classifier: Classifier, plan: Plan, advance: Advance) -> Extremes:
        """Visit every pixel of the plan."""
