"""Folders in COCO format as users of COCO, Open Images and labelling tools have them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onepixel.boxes import read_scenes
from onepixel.errors import UsageError

CATEGORIES = [{"id": 3, "name": "car"}, {"id": 17, "name": "cat"}, {"id": 90, "name": "brush"}]
EXIF_ORIENTATION, TURNED = 0x0112, 6


def folder(root: Path, images: list[dict[str, Any]], annotations: list[dict[str, Any]], name: str = "all.json") -> Path:
    """A folder with annotations alone."""
    file = root / "annotations" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES}))
    return root


def draw(path: Path, mode: str = "RGB", size: tuple[int, int] = (40, 30), **options: Any) -> None:
    """An image that is dark but for its upper left corner."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros((size[1], size[0]), dtype=np.uint8)
    values[:10, :10] = 255
    Image.fromarray(values).convert("RGB").convert(mode).save(path, **options)


def box(image: int | str, category: int = 3, bbox: tuple[float, ...] = (0, 0, 10, 10), **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": list(bbox), **more}


def image(name: str, number: int | str = 1, **more: Any) -> dict[str, Any]:
    return {"id": number, "file_name": name, **more}


def test_what_is_no_usable_object_is_left_out(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        draw(tmp_path / name)
    wrong = [(1, 1, 0, 5), (1, 1, 5, -2), (60, 60, 5, 5), ()]
    objects = [box(1), box(1, iscrowd=1), box(1, iscrowd=None, category=17), *(box(2, bbox=one) for one in wrong)]
    found = read_scenes(folder(tmp_path, [image(f"{n}.png", k) for k, n in enumerate("abc", start=1)], objects))
    assert found.files == ("a.png",)
    assert found.scenes[0].labels.tolist() == [1, 2]
    assert found.names == ("car", "cat", "brush")


def test_boxes_end_at_the_edge(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    (scene,) = read_scenes(folder(tmp_path, [image("a.png")], [box(1, bbox=(-5, 20, 100, 100))])).scenes
    assert scene.boxes.tolist() == [[0, 20, 40, 30]]


@pytest.mark.parametrize("place", ["a.png", "images/a.png", "train2017/a.png", "data/deep/er/a.png"])
@pytest.mark.parametrize("name", ["a.png", "train2017/a.png", "train2017\\a.png"])
def test_images_lie_anywhere_below(tmp_path: Path, place: str, name: str) -> None:
    draw(tmp_path / place)
    assert len(read_scenes(folder(tmp_path, [image(name)], [box(1)])).scenes) == 1


def test_of_several_files_of_a_name_the_one_with_the_same_folder_is_meant(tmp_path: Path) -> None:
    draw(tmp_path / "sets" / "train" / "a.png", size=(50, 50))
    draw(tmp_path / "sets" / "val" / "a.png")
    found = read_scenes(folder(tmp_path, [image("val/a.png")], [box(1)]))
    assert found.scenes[0].size == (30, 40)
    with pytest.raises(UsageError, match="more than once"):
        read_scenes(folder(tmp_path, [image("a.png")], [box(1)]))


def test_missing_and_broken_images_are_told_and_left_out(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xff broken")
    draw(tmp_path.parent / "outside.png")
    names = ["gone.jpg", "b.jpg", "../outside.png", str(tmp_path / "a.png"), "a.png"]
    found = read_scenes(folder(tmp_path, [image(n, k) for k, n in enumerate(names)], [box(k) for k in range(5)]))
    assert found.files == ("a.png",)
    assert len(found.left_out) == 4
    assert "gone.jpg, which is not in" in found.left_out[0]
    assert "no image that can be read" in found.left_out[1]


@pytest.mark.parametrize(
    ("mode", "name"),
    [("L", "a.png"), ("CMYK", "a.jpg"), ("P", "a.gif"), ("RGBA", "a.png"), ("1", "a.png"), ("LA", "a.png")],
)
def test_images_of_every_mode_become_colours(tmp_path: Path, mode: str, name: str) -> None:
    draw(tmp_path / name, mode)
    (scene,) = read_scenes(folder(tmp_path, [image(name)], [box(1)])).scenes
    assert scene.image.shape == (3, 30, 40)
    assert scene.image[:, 2:8, 2:8].min() > 200
    assert scene.image[:, 20:, 20:].max() < 60


def test_images_of_sixteen_bits_are_not_cut_off(tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 20), 20_000, dtype=np.uint16)).save(tmp_path / "a.png")
    (scene,) = read_scenes(folder(tmp_path, [image("a.png")], [box(1)])).scenes
    assert abs(int(scene.image.mean()) - 20_000 / 257) <= 1


@pytest.mark.parametrize(
    ("said", "upright"),
    [({}, True), ({"width": 30, "height": 40}, True), ({"width": 40, "height": 30}, False)],
)
def test_photographs_stand_as_their_annotations_mean(tmp_path: Path, said: dict[str, int], upright: bool) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = TURNED
    draw(tmp_path / "a.jpg", exif=exif, quality=95)
    (scene,) = read_scenes(folder(tmp_path, [image("a.jpg", **said)], [box(1)])).scenes
    assert scene.size == ((40, 30) if upright else (30, 40))
    corner = scene.image[:, 2:8, -8:-2] if upright else scene.image[:, 2:8, 2:8]
    assert corner.min() > 200


def test_boxes_of_images_that_were_made_smaller_are_scaled(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    said = [image("a.png", width=80, height=60)]
    (scene,) = read_scenes(folder(tmp_path, said, [box(1, bbox=(0, 0, 20, 20))])).scenes
    assert scene.boxes.tolist() == [[0, 0, 10, 10]]
    with pytest.raises(UsageError, match=r"has 40 x 30 pixels .* and the annotations say 80 x 80"):
        read_scenes(folder(tmp_path, [image("a.png", width=80, height=80)], [box(1)]))


def test_images_may_be_numbered_with_letters(tmp_path: Path) -> None:
    draw(tmp_path / "0a1b.png")
    assert len(read_scenes(folder(tmp_path, [image("0a1b.png", "0a1b")], [box("0a1b")])).scenes) == 1


def test_the_file_of_objects_is_told_from_captions_or_named(tmp_path: Path) -> None:
    draw(tmp_path / "val2017" / "a.png")
    for name in ("captions_val2017.json", "person_keypoints_val2017.json", "instances_val2017.json"):
        folder(tmp_path, [image("a.png")] if "instances" in name else [], [box(1)] if "instances" in name else [], name)
    assert read_scenes(tmp_path).files == ("a.png",)
    folder(tmp_path, [], [], "instances_train2017.json")
    with pytest.raises(UsageError, match=r"it has several: .*Name one of them"):
        read_scenes(tmp_path)
    assert read_scenes(tmp_path / "annotations" / "instances_val2017.json").files == ("a.png",)


def test_labels_are_those_of_the_detector(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    found = read_scenes(folder(tmp_path, [image("a.png")], [box(1), box(1, 17), box(1, 90)]))
    own, of_coco = found.labelled_for(4), found.labelled_for(91)
    assert own.scenes[0].labels.tolist() == [1, 2, 3]
    assert of_coco.scenes[0].labels.tolist() == [3, 17, 90]
    assert (of_coco.names[2], of_coco.names[16], of_coco.names[3], len(of_coco.names)) == ("car", "cat", "class 4", 90)
    with pytest.raises(UsageError, match="3 classes, and the detector has 3 outputs"):
        found.labelled_for(3)


@pytest.mark.parametrize("number", ["NaN", "Infinity"])
def test_boxes_that_are_no_numbers_are_refused(tmp_path: Path, number: str) -> None:
    draw(tmp_path / "a.png")
    file = folder(tmp_path, [image("a.png")], [box(1)]) / "annotations" / "all.json"
    file.write_text(file.read_text().replace("[0, 0, 10, 10]", f"[0, 0, 10, {number}]"))
    with pytest.raises(UsageError, match="not in COCO format"):
        read_scenes(tmp_path)
