"""Data sets in the layouts that torchvision unpacks them into, and in the single file that onepixel keeps."""

import sys

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from onepixel.datasets import DATASETS, is_local, load_dataset
from onepixel.errors import UsageError

SHAPES = {"cifar10": (3, 32, 32), "gtsrb": (3, 32, 32), "imagenette": (3, 64, 64)}
FILES = {"cifar10": "cifar10.npz", "gtsrb": "gtsrb32.npz", "imagenette": "imagenette64.npz"}
SIZES = {"cifar10": 10, "gtsrb": 43, "imagenette": 10}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty data folder; no other is looked into."""
    monkeypatch.setenv("ONEPIXEL_DATA", str(tmp_path / "named"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "named").mkdir()
    return tmp_path / "named"


@pytest.mark.parametrize("name", FILES)
def test_a_single_file_is_read_from_the_named_folder(name, folder):
    assert not is_local(name)
    channels, height, width = SHAPES[name]
    images = np.random.default_rng(0).integers(0, 256, (3, height, width, channels), dtype=np.uint8)
    np.savez(folder / FILES[name], x_train=images, y_train=[0, 1, 2], x_test=images[:1], y_test=[1])
    dataset = DATASETS[name].load()
    assert is_local(name)
    assert (dataset.name, dataset.input_shape, dataset.classes) == (name, SHAPES[name], 3)
    assert dataset.x_train[2, 1, 4, 5] == images[2, 4, 5, 1]


def test_gtsrb_as_torchvision_unpacks_it_is_squeezed_whole_and_kept(folder, tmp_path):
    base = folder / "gtsrb"
    for label in range(2):
        (base / "GTSRB" / "Training" / f"{label:05d}").mkdir(parents=True)
        Image.new("RGB", (40, 60), (100 * label, 0, 7)).save(base / "GTSRB/Training" / f"{label:05d}" / "00000_0.ppm")
    (base / "GTSRB" / "Final_Test" / "Images").mkdir(parents=True)
    halves = Image.new("RGB", (20, 80), (0, 0, 0))
    halves.paste((255, 255, 255), (0, 40, 20, 80))
    halves.save(base / "GTSRB/Final_Test/Images/00000.ppm")
    (base / "GT-final_test.csv").write_text("Filename;Width;ClassId\n00000.ppm;20;1\n")
    dataset = DATASETS["gtsrb"].load()
    assert (dataset.input_shape, dataset.y_train.tolist(), dataset.y_test.tolist()) == ((3, 32, 32), [0, 1], [1])
    assert dataset.x_train[1, :, 9, 9].tolist() == [100, 0, 7]
    assert dataset.x_test[0, 0, 2].max() == 0
    assert dataset.x_test[0, 0, 29].min() == 255
    for path in sorted(base.rglob("*.ppm")):
        path.unlink()
    again = DATASETS["gtsrb"].load()
    assert torch.equal(again.x_test, dataset.x_test)


def test_imagenette_as_torchvision_unpacks_it_is_cropped_in_the_middle(folder):
    for split in ("train", "val"):
        for wnid in ("n01440764", "n02102040"):
            (folder / "imagenette2-160" / split / wnid).mkdir(parents=True)
            image = Image.new("RGB", (200, 100), (255, 0, 0))
            image.paste((0, 255, 0), (50, 0, 150, 100))
            image.save(folder / "imagenette2-160" / split / wnid / "a.JPEG", quality=100, subsampling=0)
    # torchvision looks for the suffix in lower case; a file system that tells cases apart needs the rename.
    for path in folder.rglob("*.JPEG"):
        path.rename(path.with_suffix(".jpeg"))
    dataset = DATASETS["imagenette"].load()
    assert (dataset.input_shape, dataset.y_train.tolist(), dataset.y_test.tolist()) == ((3, 64, 64), [0, 1], [0, 1])
    assert dataset.x_train[:, 1, 2:-2, 2:-2].min() > 240
    assert dataset.x_train[:, 0, 2:-2, 2:-2].max() < 15


def test_cifar10_comes_from_torchvision_where_there_is_no_file_of_its_own(folder, monkeypatch):
    class Part:
        def __init__(self, root, train, download):
            assert download
            self.data = np.full((4, 32, 32, 3), 9 if train else 5, np.uint8)
            self.targets = [0, 1, 2, 3]

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Part)
    dataset = DATASETS["cifar10"].load()
    assert dataset.input_shape == (3, 32, 32)
    assert (int(dataset.x_train.max()), int(dataset.x_test.max())) == (9, 5)


@pytest.mark.parametrize("name", ["CIFAR10", "GTSRB", "Imagenette"])
def test_a_download_that_fails_is_one_clear_sentence(name, folder, monkeypatch):
    def fail(*args, **settings):
        raise RuntimeError("no route\n to host")

    monkeypatch.setattr(torchvision.datasets, name, fail)
    with pytest.raises(UsageError, match="is not on this machine, and downloading it failed: no route to host"):
        DATASETS[name.lower()].load()


@pytest.mark.parametrize("name", SIZES)
def test_a_local_copy_has_its_published_classes(name):
    if not is_local(name):
        message = f"{name} is not on this machine: put {FILES[name]} into ./data or set ONEPIXEL_DATA to run this test"
        print(message, file=sys.stderr)
        pytest.skip(message)
    dataset = load_dataset(name)
    assert (dataset.input_shape, dataset.classes) == (SHAPES[name], SIZES[name])
    assert torch.bincount(dataset.y_test).min() > 0
