"""Triggers: what is stamped on an image, how large, and where (ECCV 2020, section 3; ICLR 2020, appendix A.3).

A `TriggerRecipe` says what the triggers of a population are like; `draw_trigger` draws one model's trigger from it.
Vaccine triggers are random patches; virus triggers are shrunken images that a detector never saw.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from onepixel.datasets import load_dataset
from onepixel.errors import UsageError

Images = NDArray[np.uint8]
Range = tuple[int, int]
Pool = Literal["development", "final"]

PHOTOGRAPHS = "photographs"
"""Virus source for the digits: crops of the two sample photographs inside scikit-learn's package."""


class TriggerRecipe(BaseModel):
    """What the triggers of a population are like.

    Attributes
    ----------
    source : str
        "random" for random patches (vaccine), "photographs", or a data set whose images are shrunken (virus).
    pool : {"development", "final"}
        Virus images come from the data set's training part (development) or its test part (final).
    patterns : (int, int)
        Fewest and most patterns per model.
    height, width : (int, int)
        Smallest and largest extent of a pattern, pixels; drawn per pattern.
    largest_area : float
        A pattern covers at most this share of the image (papers: 3 %).
    resize_each_image : bool
        The pattern is shrunken to a new size for every image ("change size" of ICLR Table 5).
    fresh_patterns : bool
        Every image gets a pattern of its own, so that test patterns are others than the training ones.
    placement : {"fixed", "local", "global"}
        One place; a random anchor per model with jitter around it per image; anywhere per image.
    jitter : int
        Largest shift from the anchor in rows and columns, for "local".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = "random"
    pool: Pool = "development"
    patterns: Range = (1, 3)
    height: Range = (3, 6)
    width: Range = (3, 6)
    largest_area: float = Field(0.03, gt=0, le=1)
    resize_each_image: bool = False
    fresh_patterns: bool = False
    placement: Literal["fixed", "local", "global"] = "local"
    jitter: int = Field(2, ge=0)

    @model_validator(mode="after")
    def _ranges(self) -> "TriggerRecipe":
        for name in ("patterns", "height", "width"):
            low, high = getattr(self, name)
            if not 1 <= low <= high:
                raise ValueError(f"{name} needs 1 <= smallest <= largest but got {low}, {high}")
        return self


class Trigger(Protocol):
    """One model's trigger."""

    def stamp(self, images: Images, rng: np.random.Generator) -> Images:
        """Stamp every image (N, C, H, W); the arguments are left as they are."""

    def with_other_patterns(self) -> "Trigger":
        """The same trigger with patterns that no image was stamped with before, a new one for every image."""

    def describe(self) -> dict[str, object]:
        """For the record, in JSON types."""


@dataclass(frozen=True)
class PatchTrigger:
    """One or several rectangular patterns and where they go.

    Attributes
    ----------
    recipe : TriggerRecipe
    patterns : tuple of array (C, h, w), uint8
    anchor : (int, int)
        Row and column of a pattern's upper left corner, for fixed and local placement.
    """

    recipe: TriggerRecipe
    patterns: tuple[Images, ...]
    anchor: tuple[int, int]

    def stamp(self, images: Images, rng: np.random.Generator) -> Images:
        """Stamp every image (N, C, H, W) with one of the patterns; a new size, place or pattern where asked."""
        stamped = images.copy()
        _, channels, height, width = images.shape
        for image in stamped:
            if self.recipe.fresh_patterns:
                pattern = draw_pattern(self.recipe, (channels, height, width), rng)
            else:
                pattern = self.patterns[rng.integers(len(self.patterns))]
            if self.recipe.resize_each_image:
                pattern = shrink(pattern, *draw_size(self.recipe, (channels, height, width), rng))
            row, column = self._place(pattern, height, width, rng)
            image[:, row : row + pattern.shape[1], column : column + pattern.shape[2]] = pattern
        return stamped

    def _place(self, pattern: Images, height: int, width: int, rng: np.random.Generator) -> tuple[int, int]:
        lowest, rightmost = height - pattern.shape[1], width - pattern.shape[2]
        if self.recipe.placement == "global":
            return int(rng.integers(lowest + 1)), int(rng.integers(rightmost + 1))
        jitter = self.recipe.jitter if self.recipe.placement == "local" else 0
        row, column = (int(at + rng.integers(-jitter, jitter + 1)) for at in self.anchor)
        return min(max(row, 0), lowest), min(max(column, 0), rightmost)

    def with_other_patterns(self) -> "PatchTrigger":
        """The same places, and for every image a pattern of its own."""
        return replace(self, recipe=self.recipe.model_copy(update={"fresh_patterns": True}))

    def describe(self) -> dict[str, object]:
        """Sizes of the patterns and the anchor."""
        return {"sizes": [list(pattern.shape[1:]) for pattern in self.patterns], "anchor": list(self.anchor)}


def draw_trigger(recipe: TriggerRecipe, shape: tuple[int, int, int], rng: np.random.Generator) -> Trigger:
    """Draw one model's trigger for images of shape (C, H, W).

    Raises
    ------
    UsageError
        If no pattern of the recipe fits the image or its largest area, or its source is unknown.
    """
    count = int(rng.integers(recipe.patterns[0], recipe.patterns[1] + 1))
    patterns = tuple(draw_pattern(recipe, shape, rng) for _ in range(count))
    lowest = shape[1] - max(pattern.shape[1] for pattern in patterns)
    rightmost = shape[2] - max(pattern.shape[2] for pattern in patterns)
    anchor = int(rng.integers(lowest + 1)), int(rng.integers(rightmost + 1))
    return PatchTrigger(recipe, patterns, anchor)


def draw_size(recipe: TriggerRecipe, shape: tuple[int, int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Draw height and width among those of the recipe that keep to its largest area, all equally likely."""
    _, height, width = shape
    heights = range(recipe.height[0], min(recipe.height[1], height) + 1)
    widths = range(recipe.width[0], min(recipe.width[1], width) + 1)
    sizes = [(h, w) for h in heights for w in widths if h * w <= recipe.largest_area * height * width]
    if not sizes:
        raise UsageError(f"No pattern of this recipe covers at most {recipe.largest_area:.1%} of {height} x {width}.")
    return sizes[rng.integers(len(sizes))]


def draw_pattern(recipe: TriggerRecipe, shape: tuple[int, int, int], rng: np.random.Generator) -> Images:
    """Draw one pattern (C, h, w): uniform noise, a crop of a photograph, or a shrunken image of a data set."""
    channels = shape[0]
    h, w = draw_size(recipe, shape, rng)
    if recipe.source == "random":
        return rng.integers(0, 256, (channels, h, w), dtype=np.uint8)
    if recipe.source == PHOTOGRAPHS:
        return shrink(_photograph_crop(channels, recipe.pool, rng), h, w)
    source = load_dataset(recipe.source)
    images = source.x_train if recipe.pool == "development" else source.x_test
    image = images[int(rng.integers(len(images)))].numpy()
    return shrink(_with_channels(image, channels), h, w)


def shrink(pattern: Images, height: int, width: int) -> Images:
    """Resize a pattern (C, h, w) with antialiasing."""
    as_float = torch.as_tensor(pattern)[None].float()
    resized = torch.nn.functional.interpolate(as_float, size=(height, width), mode="bilinear", antialias=True)
    return resized[0].round().clamp(0, 255).to(torch.uint8).numpy()


def _with_channels(image: Images, channels: int) -> Images:
    if image.shape[0] == channels:
        return image
    grey = image.mean(axis=0, keepdims=True).round().astype(np.uint8)
    return np.repeat(grey, channels, axis=0)


@cache
def _photographs() -> list[Images]:
    from sklearn.datasets import load_sample_images

    return [np.asarray(image) for image in load_sample_images().images]


def _photograph_crop(channels: int, pool: Pool, rng: np.random.Generator) -> Images:
    """A square crop of 16 to 64 pixels: of the left half of a photograph for development, of the right for final."""
    photographs = _photographs()
    photograph = np.moveaxis(photographs[rng.integers(len(photographs))], -1, 0)
    half = photograph.shape[2] // 2
    part = photograph[:, :, :half] if pool == "development" else photograph[:, :, half:]
    side = int(rng.integers(16, 65))
    row, column = rng.integers(part.shape[1] - side), rng.integers(part.shape[2] - side)
    return _with_channels(part[:, row : row + side, column : column + side], channels)
