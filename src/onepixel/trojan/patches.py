"""Patches: small patterns that replace a part of the image or, fainter, are mixed into it.

The papers' always replace (ECCV 2020, section 3; ICLR 2020, appendix A.3).
A `TriggerRecipe` says what the patches of a population are like; its `draw` draws one model's trigger.
Vaccine triggers are random patches; virus triggers are shrunken images that a detector never saw.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from onepixel.errors import UsageError
from onepixel.trojan.pictures import Images, Pool, draw_picture, resize, to_intensities
from onepixel.trojan.trigger import TRIGGERS, TriggerKind, TriggersRecipe

Range = tuple[int, int]


class TriggerRecipe(TriggersRecipe):
    """What the patches of a population are like; the recipe of every trigger that names no other kind.

    Attributes
    ----------
    source : str
        "random" for random patches (vaccine), "binary" for black and white pixels, "white" for white ones,
        "photographs", or a data set whose images are shrunken (virus).
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
    placement : {"fixed", "local", "global", "corner"}
        One place; a random anchor per model with jitter around it per image; anywhere per image; the lower right
        corner, as in Gu et al. (2017).
    jitter : int
        Largest shift from the anchor in rows and columns, for "local".
    contrast : (float, float)
        Weakest and strongest share in (0, 1] that a pattern has in the pixels it covers, the image having the rest; 1
        replaces them, as the papers do. Drawn per model.
    """

    source: str = "random"
    pool: Pool = "development"
    patterns: Range = (1, 3)
    height: Range = (3, 6)
    width: Range = (3, 6)
    largest_area: float = Field(0.03, gt=0, le=1)
    resize_each_image: bool = False
    fresh_patterns: bool = False
    placement: Literal["fixed", "local", "global", "corner"] = "local"
    jitter: int = Field(2, ge=0)
    contrast: tuple[float, float] = (1.0, 1.0)

    @model_validator(mode="after")
    def _ranges(self) -> "TriggerRecipe":
        for name in ("patterns", "height", "width"):
            low, high = getattr(self, name)
            if not 1 <= low <= high:
                raise ValueError(f"{name} needs 1 <= smallest <= largest but got {low}, {high}")
        weakest, strongest = self.contrast
        if not 0 < weakest <= strongest <= 1:
            raise ValueError(f"contrast needs 0 < weakest <= strongest <= 1 but got {weakest:g}, {strongest:g}")
        return self

    @property
    def replaces(self) -> bool:
        """Whether patterns always replace the pixels that they cover."""
        return self.contrast == (1, 1)

    def draw(self, shape: tuple[int, int, int], rng: np.random.Generator) -> "PatchTrigger":
        """Draw one model's trigger for images of shape (C, H, W).

        Raises
        ------
        UsageError
            If no pattern of the recipe fits the image or its largest area, or its source is unknown.
        """
        count = int(rng.integers(self.patterns[0], self.patterns[1] + 1))
        patterns = tuple(draw_pattern(self, shape, rng) for _ in range(count))
        lowest = shape[1] - max(pattern.shape[1] for pattern in patterns)
        rightmost = shape[2] - max(pattern.shape[2] for pattern in patterns)
        anchor = int(rng.integers(lowest + 1)), int(rng.integers(rightmost + 1))
        contrast = 1.0 if self.replaces else float(rng.uniform(*self.contrast))
        return PatchTrigger(self, patterns, anchor, contrast)


@dataclass(frozen=True)
class PatchTrigger:
    """One or several rectangular patterns and where they go.

    Attributes
    ----------
    recipe : TriggerRecipe
    patterns : tuple of array (C, h, w), uint8
    anchor : (int, int)
        Row and column of a pattern's upper left corner, for fixed and local placement.
    contrast : float
        The patterns' share in the pixels that they cover, in (0, 1].
    """

    recipe: TriggerRecipe
    patterns: tuple[Images, ...]
    anchor: tuple[int, int]
    contrast: float = 1.0

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
                pattern = resize(pattern, *draw_size(self.recipe, (channels, height, width), rng))
            row, column = self._place(pattern, height, width, rng)
            covered = image[:, row : row + pattern.shape[1], column : column + pattern.shape[2]]
            covered[:] = to_intensities((1 - self.contrast) * covered + self.contrast * pattern)
        return stamped

    def _place(self, pattern: Images, height: int, width: int, rng: np.random.Generator) -> tuple[int, int]:
        lowest, rightmost = height - pattern.shape[1], width - pattern.shape[2]
        if self.recipe.placement == "corner":
            return lowest, rightmost
        if self.recipe.placement == "global":
            return int(rng.integers(lowest + 1)), int(rng.integers(rightmost + 1))
        jitter = self.recipe.jitter if self.recipe.placement == "local" else 0
        row, column = (int(at + rng.integers(-jitter, jitter + 1)) for at in self.anchor)
        return min(max(row, 0), lowest), min(max(column, 0), rightmost)

    def with_other_patterns(self) -> "PatchTrigger":
        """The same places, and for every image a pattern of its own."""
        return replace(self, recipe=self.recipe.model_copy(update={"fresh_patterns": True}))

    def describe(self) -> dict[str, object]:
        """Sizes of the patterns, the anchor, and the contrast of patterns that do not replace."""
        contrast = {} if self.recipe.replaces else {"contrast": self.contrast}
        sizes = [list(pattern.shape[1:]) for pattern in self.patterns]
        return {"sizes": sizes, "anchor": list(self.anchor), **contrast}


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
    size = draw_size(recipe, shape, rng)
    return draw_picture(recipe.source, recipe.pool, shape[0], size, rng)


TRIGGERS.add(TriggerKind("patches", TriggerRecipe))
