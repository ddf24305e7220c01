"""Scenes in COCO format: a folder with images and one JSON file, as COCO and many labelling tools give them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from onepixel.boxes.scene import Scene
from onepixel.errors import UsageError
from onepixel.files import atomic_path, write_text
from onepixel.printable import escaped

ANNOTATIONS = "annotations.json"
IMAGES = "images"
MOST_BYTES = 1_000_000_000
"""A file of annotations larger than this is refused; COCO's own has half as many."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class CocoImage(_Part):
    """An image of the file."""

    id: int
    file_name: str


class CocoAnnotation(_Part):
    """An object of the file; the box is left, top, width, height."""

    image_id: int
    category_id: int
    bbox: Annotated[list[float], Field(min_length=4, max_length=4)]
    iscrowd: int = 0


class CocoCategory(_Part):
    """A class of the file."""

    id: int
    name: str = ""


class CocoFile(_Part):
    """What is read of a COCO file."""

    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]


@dataclass(frozen=True)
class SceneFolder:
    """The scenes of a folder.

    Attributes
    ----------
    scenes : list of Scene
    names : tuple of str
        What the classes 1 .. K are called, in the order of their numbers in the file.
    files : tuple of str
        The images' files, one per scene.
    """

    scenes: list[Scene]
    names: tuple[str, ...]
    files: tuple[str, ...]


def write_scenes(folder: Path, scenes: Sequence[Scene], names: Sequence[str]) -> None:
    """Write scenes as a folder that `read_scenes` and any other reader of COCO format reads; PNG keeps every pixel."""
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    for number, scene in enumerate(scenes, start=1):
        with atomic_path(folder / IMAGES / file_name(number)) as temporary:
            Image.fromarray(np.moveaxis(scene.image, 0, -1)).save(temporary, format="PNG")
    write_text(folder / ANNOTATIONS, json.dumps(coco_dictionary(scenes, names)) + "\n")


def file_name(number: int) -> str:
    """The file of a scene that was made here."""
    return f"{number:06d}.png"


def coco_dictionary(scenes: Sequence[Scene], names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Scenes as COCO's dictionary; images and annotations are counted from 1."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, scene in enumerate(scenes, start=1):
        height, width = scene.size
        images.append({"id": number, "file_name": file_name(number), "height": height, "width": width})
        for box, label in zip(scene.boxes.tolist(), scene.labels.tolist(), strict=True):
            left, top, right, bottom = box
            size = [right - left, bottom - top]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": label,
                    "bbox": [left, top, *size],
                    "area": size[0] * size[1],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": label, "name": name} for label, name in enumerate(names, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def read_scenes(folder: str | Path, *, most: int | None = None) -> SceneFolder:
    """Read a folder in COCO format.

    Parameters
    ----------
    folder : str or Path
        Holds one JSON file of annotations, at its top or in a folder `annotations`, and the images that it names, below
        it anywhere. Crowds and boxes without area are left out, and images that then have no box.
    most : int, optional
        Read so many scenes at most, the first ones.

    Raises
    ------
    UsageError
        If there is no such file, or none or several of them, or one is damaged, or an image is missing.
    """
    root = Path(folder)
    file = annotation_file(root)
    content = parsed(file)
    labels = {one.id: label for label, one in enumerate(sorted(content.categories, key=lambda one: one.id), start=1)}
    objects: dict[int, list[tuple[list[float], int]]] = {}
    for one in content.annotations:
        left, top, width, height = one.bbox
        if one.category_id not in labels:
            raise UsageError(f"{escaped(file)}: an object is of category {one.category_id}, which is not listed.")
        if not one.iscrowd and width > 0 and height > 0:
            box = [left, top, left + width, top + height]
            objects.setdefault(one.image_id, []).append((box, labels[one.category_id]))
    scenes: list[Scene] = []
    files: list[str] = []
    for image in content.images:
        if image.id not in objects:
            continue
        if len(scenes) == most:
            break
        boxes, numbers = zip(*objects[image.id], strict=True)
        pixels = read_image(root, image.file_name)
        scenes.append(Scene(pixels, np.array(boxes, dtype=np.float32), np.array(numbers, dtype=np.int64)))
        files.append(image.file_name)
    if not scenes:
        raise UsageError(f"{escaped(file)} has no image with an object in it.")
    names = tuple(one.name or str(one.id) for one in sorted(content.categories, key=lambda one: one.id))
    return SceneFolder(scenes, names, tuple(files))


def annotation_file(root: Path) -> Path:
    """The one JSON file of annotations of a folder.

    Raises
    ------
    UsageError
        If there is none, or there are several.
    """
    if not root.is_dir():
        raise UsageError(f"There is no folder {escaped(root)}.")
    found = sorted([*root.glob("*.json"), *root.glob("annotations/*.json")])
    if len(found) != 1:
        listed = ", ".join(escaped(path.name) for path in found[:5])
        what = f"it has several: {listed}" if found else "it has none"
        raise UsageError(f"{escaped(root)} needs one JSON file of annotations in COCO format, and {what}.")
    return found[0]


def parsed(file: Path) -> CocoFile:
    """The content of a file of annotations.

    Raises
    ------
    UsageError
        If it is too large, or is not in COCO format; it says what is wrong first.
    """
    if file.stat().st_size > MOST_BYTES:
        raise UsageError(f"{escaped(file)} is larger than onepixel reads ({MOST_BYTES / 1e9:g} GB).")
    try:
        return CocoFile.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UsageError(
            f"{escaped(file)} is not in COCO format: {escaped(place)}: {escaped(first['msg'])}."
        ) from error


def read_image(root: Path, name: str) -> np.ndarray:
    """An image (3, H, W), uint8, of a file that the annotations name.

    Raises
    ------
    UsageError
        If the name leads out of the folder, there is no such file, or it is no image.
    """
    places = [root / name, root / IMAGES / name]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        path = next(iter(sorted(root.glob(f"*/{Path(name).name}"))), None)
    if path is None or root.resolve() not in path.resolve().parents:
        raise UsageError(f"The annotations name an image {escaped(name)}, which is not in {escaped(root)}.")
    try:
        with Image.open(path) as image:
            return np.moveaxis(np.asarray(image.convert("RGB")), -1, 0).copy()
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UsageError(f"{escaped(path)} is no image that can be read.") from error
