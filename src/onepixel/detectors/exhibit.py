"""Evidence that a reader can check with his own eyes: images before and after a change, and what the classifier says.

An exhibit holds the auditor's own images. Whoever has the classifier can ask it about them and gets the same answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onepixel.errors import UsageError

Place = tuple[int, int, int, int]
"""Top, left, height, width, in pixels: where an image is changed."""


@dataclass(frozen=True)
class Exhibit:
    """Sample images, unchanged and changed, and what the classifier says of each.

    Attributes
    ----------
    before, after : array of shape (N, C, H, W), float32
        The images in [0, 1], and the same images with the change.
    says_before, says_after : array of shape (N, K), float64
        The classifier's distributions over the classes.
    target_class : int
        Where the change drives the images.
    place : tuple of int or None
        Top, left, height, width of the change; None where it covers the whole image.
    family : str
        What kind of change it is, as the search names it.
    names : tuple of str
        What the images are called, file names mostly; empty where they have no names.
    tried, driven : int
        How many images the change was tried on, and how many of them it drives to the target.
    """

    before: NDArray[np.float32] = field(repr=False)
    after: NDArray[np.float32] = field(repr=False)
    says_before: NDArray[np.float64] = field(repr=False)
    says_after: NDArray[np.float64] = field(repr=False)
    target_class: int
    place: Place | None
    family: str
    names: tuple[str, ...] = ()
    tried: int = 0
    driven: int = 0

    def __post_init__(self) -> None:
        count = len(self.before)
        same = self.before.ndim == 4 and self.before.shape == self.after.shape
        if not same or self.says_before.shape != self.says_after.shape or len(self.says_before) != count:
            raise UsageError("Expected as many images (N, C, H, W) after the change as before, and an answer for each.")
        if len(self.names) not in (0, count):
            raise UsageError(f"Expected {count} names or none but got {len(self.names)}.")

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.before)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Per image: its name, and the class and its probability, before and after; JSON types only."""
        found = []
        for number in range(len(self)):
            row: dict[str, Any] = {"image": self.names[number] if self.names else f"image {number + 1}"}
            for when, says in (("before", self.says_before), ("after", self.says_after)):
                said = int(says[number].argmax())
                row[when] = {
                    "class": said,
                    "probability": float(says[number, said]),
                    "target_probability": float(says[number, self.target_class]),
                }
            found.append(row)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Everything in JSON types, the images too, as nested lists rounded to five digits."""
        return {
            "target_class": self.target_class,
            "place": None if self.place is None else list(self.place),
            "family": self.family,
            "tried": self.tried,
            "driven": self.driven,
            "answers": self.rows,
            "before": np.round(self.before.astype(float), 5).tolist(),
            "after": np.round(self.after.astype(float), 5).tolist(),
        }


def sentences(exhibit: Exhibit, classes: Sequence[str] = ()) -> list[str]:
    """What the classifier says of each image, as sentences.

    Parameters
    ----------
    exhibit : Exhibit
    classes : sequence of str
        What the classes are called; numbers where there are no names.
    """

    def called(said: dict[str, Any]) -> str:
        number = said["class"]
        name = f" ({classes[number]})" if number < len(classes) else ""
        return f"class {number}{name} with {100 * said['probability']:.1f} %"

    what = "change" if exhibit.place is None else "patch"
    return [
        f"{row['image']}: unchanged {called(row['before'])}, with the {what} {called(row['after'])}"
        for row in exhibit.rows
    ]
