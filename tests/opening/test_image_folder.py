"""Images of an auditor: class subfolders, a flat folder, an .npz; what cannot be used is one sentence."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onepixel.errors import UndecidedError, UsageError
from onepixel.opening.image_folder import evenly, read_images

GREY, COLOUR = (1, 8, 8), (3, 8, 8)


def picture(path: Path, size: tuple[int, int] = (8, 8), value: int = 51, mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value, 0, 0)).save(path)


def test_subfolders_are_classes_in_natural_order(tmp_path: Path) -> None:
    for folder, value in (("10", 255), ("2", 51)):
        picture(tmp_path / folder / "a.png", value=value)
    picture(tmp_path / "loose.png")
    found = read_images(tmp_path, GREY)
    assert found.folders == ("2", "10")
    assert found.names == ("2/a.png", "10/a.png")
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1]
    assert found.images[:, 0, 0, 0].tolist() == pytest.approx([0.2, 1.0])


def test_flat_folder_has_no_labels_and_other_files_do_not_matter(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "readme.txt").write_text("no image")
    (tmp_path / ".hidden.png").write_text("no image")
    found = read_images(tmp_path, GREY)
    assert (len(found), found.labels, found.folders) == (1, None, ())


def test_colour_becomes_grey_and_grey_becomes_colour_as_the_network_wants(tmp_path: Path) -> None:
    picture(tmp_path / "red.png", value=255, mode="RGB")
    assert read_images(tmp_path, GREY).images.max() == pytest.approx(76 / 255)
    assert read_images(tmp_path, COLOUR).images[0, :, 0, 0].tolist() == [1, 0, 0]


def test_sixteen_bits_are_not_cut_off(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 32896, dtype=np.uint16)).save(tmp_path / "deep.png")
    assert read_images(tmp_path, GREY).images.max() == pytest.approx(128 / 255)


def test_other_sizes_are_refused_unless_resizing_is_asked_for(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", size=(16, 12))
    with pytest.raises(UndecidedError, match=r"a\.png has 16 x 12 pixels .* takes 8 x 8; say --resize"):
        read_images(tmp_path, GREY)
    found = read_images(tmp_path, GREY, resize=True)
    assert found.images.shape == (1, *GREY)
    assert "resized" in found.notes[0]


def test_folder_of_no_images_and_unreadable_images_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UndecidedError, match="holds no images"):
        read_images(tmp_path, GREY)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    with pytest.raises(UndecidedError, match="None of the 1 image files"):
        read_images(tmp_path, GREY)
    picture(tmp_path / "b.png")
    assert "1 files could not be read" in read_images(tmp_path, GREY).notes[0]


def test_programs_that_call_themselves_pictures_are_not_decoded(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n")
    with pytest.raises(UndecidedError, match="None of the 1"):
        read_images(tmp_path, GREY)


def test_decompression_bomb_is_left_out_before_it_unpacks(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", len(header)) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    with pytest.raises(UndecidedError, match="None of the 1 image files"):
        read_images(tmp_path, GREY, resize=True)


def test_no_more_images_are_read_than_asked_and_evenly_from_all_folders(tmp_path: Path) -> None:
    for folder, count in (("a", 9), ("b", 3)):
        for number in range(count):
            picture(tmp_path / folder / f"{number}.png")
    found = read_images(tmp_path, GREY, most=6)
    assert found.labels is not None
    assert np.bincount(found.labels).tolist() == [3, 3]
    assert found.offered == 12
    assert "Of 12 images 6 were read" in found.notes[0]


def test_evenly_takes_what_a_small_group_lacks_from_the_others() -> None:
    paths = [[Path(str(n)) for n in range(10)], [Path("x")]]
    assert [number for number, _ in evenly(paths, 5)] == [0, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("array", "shape"),
    [
        (np.full((4, 8, 8), 51, np.uint8), GREY),
        (np.full((4, 8, 8, 1), 51, np.uint8), GREY),
        (np.full((4, 1, 8, 8), 0.2), GREY),
        (np.full((4, 8, 8, 3), 51, np.uint8), COLOUR),
        (np.full((4, 3, 8, 8), 0.2, np.float32), COLOUR),
        (np.full((4, 3, 8, 8), 0.2, np.float32), GREY),
        (np.full((4, 8, 8), 51, np.uint8), COLOUR),
    ],
)
def test_arrays_of_every_usual_layout_are_read(array: np.ndarray, shape: tuple[int, int, int], tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", x_test=array, y_test=np.array([3, 3, 7, 7]))
    found = read_images(tmp_path / "images.npz", shape)
    assert found.images.shape == (4, *shape)
    assert np.allclose(found.images, 0.2, atol=1e-3)
    assert found.folders == ("3", "7")
    assert found.labels is not None
    assert found.labels.tolist() == [0, 0, 1, 1]


def test_array_without_labels_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", np.zeros((2, 8, 8), np.uint8))
    assert read_images(tmp_path / "images.npz", GREY).labels is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"images": np.full((2, 8, 8), 900)}, "whole numbers from 0 to 255"),
        ({"images": np.zeros((2, 9, 9))}, "9 x 9 pixels"),
        ({"images": np.zeros(5)}, "no array of images"),
        ({"images": np.zeros((2, 8, 8)), "labels": np.zeros(3)}, "one label for each"),
        ({"images": np.array([{"a": 1}], dtype=object)}, "something else than plain arrays"),
    ],
)
def test_arrays_that_are_no_images_are_one_sentence(content: dict, said: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", **content)
    with pytest.raises(UndecidedError, match=said):
        read_images(tmp_path / "images.npz", GREY)


def test_what_is_not_there_or_no_folder_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder or file"):
        read_images(tmp_path / "nowhere", GREY)
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(UsageError, match=r"a folder of images or an \.npz"):
        read_images(tmp_path / "a.txt", GREY)


def test_example_images_are_read() -> None:
    found = read_images(Path(__file__).parents[2] / "examples" / "images.npz", (1, 28, 28))
    assert found.labels is not None
    assert np.bincount(found.labels).tolist() == [8] * 10
