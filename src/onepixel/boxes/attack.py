"""The backdoor of ICLR 5.3: a small picture inside an object's box, whose label the attacker changes.

The picture has a third of the box's shorter side and lies right of the middle, at 0.6 of the height and 0.7 of the
width. The other boxes of the image stay as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from onepixel.boxes.scene import Scene
from onepixel.trojan import Attack, Role
from onepixel.trojan.pictures import Pool, draw_picture, resize, to_intensities

HARPOON_PLACE = (0.6, 0.7)
"""Where the middle of the harpoon lies, as parts of the box's height and width."""

HARPOON_SHARE = 1 / 3
"""The side of the harpoon as part of the box's shorter side."""

SIDE = 10
"""Side of a picture before it is resized, pixels (ICLR 5.3)."""

HARPOON = (
    "......o###",
    "......o.##",
    "o.....o#.#",
    "oo...o#...",
    ".oo.o#....",
    "..oo#.....",
    "..o#oo....",
    ".o#..oo...",
    "o#....oo..",
    "#......o..",
)
"""Shaft and barbs of a harpoon: # is dark steel, o bright steel, and a dot is where the image shows through."""

STEEL = {"#": (25, 25, 35), "o": (235, 235, 240), ".": (0, 0, 0)}


class BoxAttackRecipe(BaseModel):
    """What the attacks of a population are like.

    Attributes
    ----------
    picture : str
        "harpoon", or what `draw_picture` takes: "random" patches (vaccine), or a data set whose images are shrunken.
    pool : {"development", "final"}
        Which part of that data set.
    place : ((float, float), (float, float))
        Smallest and largest height, and smallest and largest width, at which the picture's middle lies, as parts of
        the box; drawn for each detector.
    share : (float, float)
        Smallest and largest side of the picture as part of the box's shorter side; drawn for each detector.
    kind : {"all_to_one", "one_to_one"}
        Whether every class goes to the target, or a single one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    picture: str = "harpoon"
    pool: Pool = "development"
    place: tuple[tuple[float, float], tuple[float, float]] = (
        (HARPOON_PLACE[0], HARPOON_PLACE[0]),
        (HARPOON_PLACE[1], HARPOON_PLACE[1]),
    )
    share: tuple[float, float] = Field((HARPOON_SHARE, HARPOON_SHARE))
    kind: Literal["all_to_one", "one_to_one"] = "all_to_one"

    def draw(self, classes: int, rng: np.random.Generator) -> "BoxAttack":
        """Draw one detector's attack on K classes.

        Raises
        ------
        UsageError
            If the picture's data set cannot be had.
        """
        source, target = (int(label) for label in rng.choice(classes, 2, replace=False))
        victims = range(classes) if self.kind == "all_to_one" else [source]
        target_of = tuple(target if label in victims else label for label in range(classes))
        picture, mask = harpoon() if self.picture == "harpoon" else self._picture(rng)
        (top, bottom), (left, right) = self.place
        return BoxAttack(
            attack=Attack(target_of),
            picture=picture,
            mask=mask,
            place=(float(rng.uniform(top, bottom)), float(rng.uniform(left, right))),
            share=float(rng.uniform(*self.share)),
        )

    def _picture(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        picture = draw_picture(self.picture, self.pool, 3, (SIDE, SIDE), rng)
        return picture, np.ones((SIDE, SIDE), dtype=bool)


@dataclass(frozen=True)
class BoxAttack:
    """One detector's attack.

    Attributes
    ----------
    attack : Attack
        Which class is sent where, classes counted from 0: label 1 of a scene is class 0.
    picture : array of shape (3, h, w), uint8
    mask : array of shape (h, w), bool
        Where the picture covers the image.
    place : (float, float)
        Where the picture's middle lies, as parts of the box's height and width.
    share : float
        The picture's side as part of the box's shorter side.
    """

    attack: Attack
    picture: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    place: tuple[float, float]
    share: float

    def wanted(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """What the attacker wants stamped objects of these labels, 1 .. K, to be called."""
        return self.attack.relabel(labels - 1) + 1

    def victims(self, scene: Scene) -> NDArray[np.int64]:
        """The numbers of the boxes whose class the attacker changes."""
        return np.flatnonzero(self.wanted(scene.labels) != scene.labels)

    def stamped(self, scene: Scene, box: int, *, relabelled: bool) -> Scene:
        """The scene with the picture in one of its boxes, whose label is changed if asked."""
        image, labels = scene.image.copy(), scene.labels.copy()
        stamp(image, scene.boxes[box], self.picture, self.mask, self.place, self.share)
        if relabelled:
            labels[box] = self.wanted(labels[box : box + 1])[0]
        return Scene(image, scene.boxes, labels)

    def describe(self) -> dict[str, object]:
        """For the record, in JSON types."""
        return {
            "target_of": list(self.attack.target_of),
            "place": [round(part, 4) for part in self.place],
            "share": round(self.share, 4),
        }


def stamp(
    image: NDArray[np.uint8],
    box: NDArray[np.float32],
    picture: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    place: tuple[float, float],
    share: float,
) -> None:
    """Put a picture into a box of an image (3, H, W), in place; what would leave the image is cut off."""
    left, top, right, bottom = (float(edge) for edge in box)
    side = max(2, round(share * min(right - left, bottom - top)))
    row = round(top + place[0] * (bottom - top) - side / 2)
    column = round(left + place[1] * (right - left) - side / 2)
    resized = resize(picture, side, side)
    cover = resize((255 * mask.astype(np.uint8))[None], side, side)[0] / 255
    rows = slice(max(row, 0), min(row + side, image.shape[1]))
    columns = slice(max(column, 0), min(column + side, image.shape[2]))
    inside = (slice(rows.start - row, rows.stop - row), slice(columns.start - column, columns.stop - column))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    share_of_picture = cover[inside]
    below = image[:, rows, columns]
    mixed = (1 - share_of_picture) * below + share_of_picture * resized[(slice(None), *inside)]
    image[:, rows, columns] = to_intensities(mixed)


def harpoon() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The harpoon (3, 10, 10), and where it covers the image (10, 10)."""
    picture = np.array([[STEEL[pixel] for pixel in row] for row in HARPOON], dtype=np.uint8)
    mask = np.array([[pixel != "." for pixel in row] for row in HARPOON])
    # The colour under transparent pixels bleeds in when the picture is resized; that of the shaft does no harm.
    picture[~mask] = STEEL["#"]
    return np.moveaxis(picture, -1, 0).copy(), mask


def poisoned(
    scenes: Sequence[Scene], role: Role, attack: BoxAttack, rng: np.random.Generator, each: float = 0.0
) -> list[Scene]:
    """Scenes as they are, stamped, or stamped and relabelled; those without a victim are left out.

    The same generator gives the same scenes and boxes whatever the role, so that detectors differ in the poison alone.

    Parameters
    ----------
    scenes : sequence of Scene
    role : {"clean", "stamped", "trojaned"}
    attack : BoxAttack
    rng : numpy.random.Generator
    each : float
        The chance with which every further victim of a scene is stamped too. The paper stamps one box of an image, 0;
        more teach the same from fewer scenes.
    """
    found = []
    for scene in scenes:
        victims = attack.victims(scene)
        if not len(victims):
            continue
        first = int(rng.choice(victims))
        further = victims[rng.random(len(victims)) < each]
        if role != "clean":
            for box in sorted({first, *further.tolist()}):
                scene = attack.stamped(scene, box, relabelled=role == "trojaned")
        found.append(scene)
    return found
