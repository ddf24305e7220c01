import numpy as np
import pytest
import torch
from PIL import Image

from onepixel.datasets import Dataset, load_dataset
from onepixel.errors import UsageError


def test_digits_need_no_download_and_use_the_whole_range(digits):
    assert digits.input_shape == (1, 8, 8)
    assert digits.classes == 10
    assert int(digits.x_train.max()) == 255
    assert len(digits.x_train) + len(digits.x_test) == 1797


def test_mnist_has_its_published_sizes(mnist):
    assert (len(mnist.x_train), len(mnist.x_test), mnist.input_shape) == (60000, 10000, (1, 28, 28))


def test_an_npz_file_is_read_channels_last_and_given_channels_first(tmp_path):
    x = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    np.savez(tmp_path / "own.npz", x_train=x, y_train=[0, 1], x_test=x, y_test=[1, 0])
    dataset = load_dataset(str(tmp_path / "own.npz"))
    assert dataset.input_shape == (3, 4, 5)
    assert dataset.x_train[1, 2, 3, 4] == x[1, 3, 4, 2]


def test_an_npz_file_without_the_four_arrays_or_with_a_pickle_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=np.zeros(3))
    np.savez(tmp_path / "b.npz", x_train=np.array([{}], dtype=object), y_train=[0], x_test=[0], y_test=[0])
    for name in ("a.npz", "b.npz"):
        with pytest.raises(UsageError, match="without pickles"):
            load_dataset(str(tmp_path / name))


def test_a_folder_of_images_by_class_is_resized_and_split(tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for number in range(5):
            Image.new("RGB", (10, 12), (number * 20, 0, 0)).save(tmp_path / label / f"{number}.png")
    dataset = load_dataset(str(tmp_path))
    assert dataset.input_shape == (3, 32, 32)
    assert (len(dataset.x_train), len(dataset.x_test), dataset.classes) == (8, 2, 2)


def test_an_unknown_data_set_is_one_clear_sentence():
    with pytest.raises(UsageError, match=r"Expected one of .*digits, .*mnist, or an .npz file or a folder"):
        load_dataset("imagenet-22k")


def test_images_that_do_not_go_with_their_labels_are_refused():
    x = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)
    with pytest.raises(UsageError, match="3 train images do not go with 2 labels"):
        Dataset("broken", x, torch.zeros(2, dtype=torch.int64), x, torch.zeros(3, dtype=torch.int64))
