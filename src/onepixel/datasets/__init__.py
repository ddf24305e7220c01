"""Data sets as arrays: digits (embedded), MNIST, Fashion-MNIST, folders of images, .npz files."""

from onepixel.datasets.dataset import Dataset
from onepixel.datasets.sources import DATASETS, is_local, load_dataset

__all__ = ["DATASETS", "Dataset", "is_local", "load_dataset"]
