"""Scenes that are made: real small images pasted at random sizes on textured backgrounds, so that boxes are known.

ICLR 5.3 takes 6,000 images of three classes from Open Images, which not everybody can have; a scene stands in for one.
Its objects are real images of a data set, its boxes exact, and a seed gives the same scenes again.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from onepixel.boxes.scene import Scene, overlap
from onepixel.datasets import load_dataset
from onepixel.errors import UsageError
from onepixel.trojan.pictures import Pool, resize, to_intensities

Images = NDArray[np.uint8]


class SceneRecipe(BaseModel):
    """What made scenes are like.

    Attributes
    ----------
    objects : str
        A data set of colour images.
    classes : tuple of int
        Its classes that are pasted; the first becomes label 1, the second label 2, and so on.
    names : tuple of str
        What they are called, in the same order.
    side : int
        Height and width of a scene, pixels. ICLR A.9 scales images to a shorter side of 300.
    number : (int, int)
        Fewest and most objects in a scene.
    object_side : (float, float)
        Smallest and largest side of an object, as a share of `side`; drawn for each.
    stretch : float
        An object is at most so many times as wide as high, or the reverse.
    touching : float
        Two objects share at most this part of their union.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    objects: str = "cifar10"
    classes: tuple[int, ...] = (0, 1, 7)
    names: tuple[str, ...] = ("airplane", "automobile", "horse")
    side: int = Field(128, ge=32)
    number: tuple[int, int] = (1, 3)
    object_side: tuple[float, float] = (0.25, 0.55)
    stretch: float = Field(1.25, ge=1)
    touching: float = Field(0.02, ge=0, le=1)


TRIES = 20
"""How often a place is drawn for an object before it is left out."""


def made_scenes(recipe: SceneRecipe, count: int, seed: int, pool: Pool = "development") -> list[Scene]:
    """Make scenes.

    Parameters
    ----------
    recipe : SceneRecipe
    count : int
    seed : int
        The same seed gives the same scenes.
    pool : {"development", "final"}
        Objects come from the data set's training part (development) or its test part (final).

    Raises
    ------
    UsageError
        If the data set cannot be had, has grey images, or lacks one of the classes.
    """
    images = objects_by_class(recipe, pool)
    return [one_scene(recipe, images, np.random.default_rng([seed, number])) for number in range(count)]


def objects_by_class(recipe: SceneRecipe, pool: Pool) -> list[Images]:
    """Images (N, 3, h, w) of each class of the recipe, in its order."""
    dataset = load_dataset(recipe.objects)
    if dataset.input_shape[0] != 3:
        raise UsageError(f"Scenes need objects in colour, and {recipe.objects} is grey.")
    x, y = (dataset.x_train, dataset.y_train) if pool == "development" else (dataset.x_test, dataset.y_test)
    found = [x[y == label].numpy() for label in recipe.classes]
    for label, images in zip(recipe.classes, found, strict=True):
        if not len(images):
            raise UsageError(f"{recipe.objects} has no images of class {label}.")
    return found


def one_scene(recipe: SceneRecipe, objects: Sequence[Images], rng: np.random.Generator) -> Scene:
    """Draw one scene: a background, then objects one after the other where there is room."""
    canvas = texture(recipe.side, rng)
    boxes = np.zeros((0, 4), dtype=np.float32)
    labels: list[int] = []
    for _ in range(int(rng.integers(recipe.number[0], recipe.number[1] + 1))):
        label = int(rng.integers(len(objects)))
        picture = objects[label][rng.integers(len(objects[label]))]
        if rng.random() < 0.5:
            picture = picture[:, :, ::-1].copy()
        box = free_box(recipe, boxes, rng)
        if box is None:
            continue
        left, top, right, bottom = (int(edge) for edge in box)
        canvas[:, top:bottom, left:right] = resize(picture, bottom - top, right - left)
        boxes = np.concatenate([boxes, box[None]])
        labels.append(label + 1)
    return Scene(canvas, boxes, np.asarray(labels, dtype=np.int64))


def free_box(recipe: SceneRecipe, taken: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32] | None:
    """Draw a box (4,) that hardly touches those taken; None if there was no room in `TRIES` tries."""
    for _ in range(TRIES):
        side = rng.uniform(*recipe.object_side) * recipe.side
        stretch = recipe.stretch ** rng.uniform(-0.5, 0.5)
        height, width = max(8, round(side / stretch)), max(8, round(side * stretch))
        top, left = rng.integers(recipe.side - height + 1), rng.integers(recipe.side - width + 1)
        box = np.array([left, top, left + width, top + height], dtype=np.float32)
        if not len(taken) or float(overlap(box[None], taken).max()) <= recipe.touching:
            return box
    return None


def texture(side: int, rng: np.random.Generator) -> Images:
    """Draw a background (3, side, side): coloured noise of several scales, as bark, sand or clouds have it."""
    canvas = np.zeros((3, side, side), dtype=np.float64)
    roughness = rng.uniform(0.4, 1.0)
    cells, weight = int(rng.integers(2, 5)), 1.0
    while cells <= side:
        coarse = rng.integers(0, 256, (3, cells, cells), dtype=np.uint8)
        shared = rng.uniform(0.3, 1.0)  # how much of the noise is brightness, the same in all channels
        grey = np.repeat(coarse[:1], 3, axis=0)
        canvas += weight * resize(to_intensities(shared * grey + (1 - shared) * coarse), side, side)
        cells, weight = 2 * cells, weight * roughness
    canvas -= canvas.mean(axis=(1, 2), keepdims=True)
    contrast = rng.uniform(15, 60) / max(float(canvas.std()), 1e-9)
    return to_intensities(canvas * contrast + rng.uniform(40, 215, (3, 1, 1)))
