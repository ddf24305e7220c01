"""Scenes in COCO format: a folder with images and one JSON file, as COCO and many labelling tools give them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from onepixel.boxes.scene import Scene
from onepixel.boxes.scene_images import IMAGES, ImageFiles, read_image
from onepixel.errors import UsageError
from onepixel.files import atomic_path, write_text
from onepixel.printable import escaped

ANNOTATIONS = "annotations.json"
OBJECTS = "instances"
"""How the names of COCO's own files of objects begin, beside captions and key points of the same images."""
MOST_BYTES = 1_000_000_000
"""A file of annotations larger than this is refused; COCO's own has half as many."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class CocoImage(_Part):
    """An image of the file. Open Images has letters in its numbers."""

    id: int | str
    file_name: str
    width: int | None = Field(None, ge=1)
    height: int | None = Field(None, ge=1)

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height, where the file says both."""
        return None if self.width is None or self.height is None else (self.width, self.height)


class CocoAnnotation(_Part):
    """An object of the file; the box is left, top, width, height."""

    image_id: int | str
    category_id: int
    bbox: Annotated[list[FiniteFloat], Field(max_length=4)] = Field(default_factory=list)
    iscrowd: int | None = 0

    @property
    def corners(self) -> tuple[float, float, float, float] | None:
        """Left, top, right, bottom; None for a crowd, and where there is no box or it has no area."""
        if len(self.bbox) != 4 or self.iscrowd or min(self.bbox[2:]) <= 0:
            return None
        left, top, width, height = self.bbox
        return left, top, left + width, top + height


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
    numbers : tuple of int
        The numbers that the file gives to the classes 1 .. K, which may have gaps; empty if they are 1 .. K.
    left_out : tuple of str
        Images that the annotations name and that are not there or cannot be used, one sentence each.
    """

    scenes: list[Scene]
    names: tuple[str, ...]
    files: tuple[str, ...]
    numbers: tuple[int, ...] = ()
    left_out: tuple[str, ...] = ()

    def labelled_for(self, outputs: int) -> "SceneFolder":
        """The same with the labels of a detector of so many outputs, the background among them.

        Detectors that were trained on COCO itself keep its numbers, gaps included, as torchvision's do: 80 classes are
        numbered up to 90, and the detector has 91 outputs. Others count their classes 1, 2, and so on.

        Raises
        ------
        UsageError
            If the detector has fewer outputs than the folder has classes, and one more.
        """
        if outputs > len(self.names) + 1 and self.numbers and min(self.numbers) >= 1 and max(self.numbers) < outputs:
            label_of = np.array([0, *self.numbers], dtype=np.int64)
            names = [f"class {label}" for label in range(1, outputs)]
            for number, name in zip(self.numbers, self.names, strict=True):
                names[number - 1] = name
            scenes = [replace(scene, labels=label_of[scene.labels]) for scene in self.scenes]
            return replace(self, scenes=scenes, names=tuple(names), numbers=())
        if outputs < len(self.names) + 1:
            raise UsageError(
                f"The scenes have {len(self.names)} classes, and the detector has {outputs} outputs, one of them for "
                "the background."
            )
        return self


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
        it anywhere; or that file itself, where a folder has several. Crowds and boxes without area are left out, and
        images that then have no box; boxes are cut off at the image's edge.
    most : int, optional
        Read so many scenes at most, the first ones.

    Raises
    ------
    UsageError
        If there is no such file, or none or several of them, or one is damaged, or no image with an object can be read.
    """
    file = annotation_file(Path(folder))
    root = file.parent.parent if file.parent.name == "annotations" else file.parent
    content = parsed(file)
    listed = sorted({one.id: one for one in content.categories}.values(), key=lambda one: one.id)
    labels = {one.id: label for label, one in enumerate(listed, start=1)}
    objects: dict[int | str, list[CocoAnnotation]] = {}
    for one in content.annotations:
        if one.category_id not in labels:
            raise UsageError(f"{escaped(file)}: an object is of category {one.category_id}, which is not listed.")
        if one.corners is not None:
            objects.setdefault(one.image_id, []).append(one)
    scenes: list[Scene] = []
    files: list[str] = []
    left_out: list[str] = []
    images = ImageFiles(root)
    for image in content.images:
        if len(scenes) == most:
            break
        if image.id not in objects:
            continue
        path = images.find(image.file_name)
        if path is None:
            left_out.append(
                f"The annotations name an image {escaped(image.file_name)}, which is not in {escaped(root)}, or more "
                "than once."
            )
            continue
        try:
            pixels, scale = read_image(path, image.size)
        except UsageError as error:
            left_out.append(str(error))
            continue
        boxes = [one.corners for one in objects[image.id] if one.corners is not None]
        numbers = [labels[one.category_id] for one in objects[image.id]]
        scene = cut_off(pixels, scale * np.array(boxes, dtype=np.float64), np.array(numbers, dtype=np.int64))
        if len(scene.labels):
            scenes.append(scene)
            files.append(image.file_name)
    if not scenes:
        first = f" {left_out[0]}" if left_out else ""
        raise UsageError(f"{escaped(file)} has no image with an object in it that can be read.{first}")
    names = tuple(one.name or str(one.id) for one in listed)
    return SceneFolder(scenes, names, tuple(files), tuple(one.id for one in listed), tuple(left_out))


def cut_off(pixels: NDArray[np.uint8], boxes: NDArray[np.float64], labels: NDArray[np.int64]) -> Scene:
    """A scene with boxes (B, 4) that end at the image's edge; those that lie outside of it are left out."""
    height, width = pixels.shape[1:]
    inside = np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)
    kept = (inside[:, 2:] > inside[:, :2]).all(axis=1)
    return Scene(pixels, inside[kept], labels[kept])


def annotation_file(given: Path) -> Path:
    """The one JSON file of annotations of a folder, or the file itself.

    Raises
    ------
    UsageError
        If there is none, or there are several.
    """
    if given.is_file() and given.suffix.lower() == ".json":
        return given
    if not given.is_dir():
        raise UsageError(f"There is no folder {escaped(given)}.")
    found = sorted([*given.glob("*.json"), *given.glob("annotations/*.json")])
    of_objects = [path for path in found if path.name.startswith(OBJECTS)]
    found = of_objects if len(of_objects) == 1 else found
    if len(found) != 1:
        names = ", ".join(escaped(path.name) for path in found[:5])
        what = f"it has several: {names}. Name one of them instead of the folder" if found else "it has none"
        raise UsageError(f"{escaped(given)} needs one JSON file of annotations in COCO format, and {what}.")
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
