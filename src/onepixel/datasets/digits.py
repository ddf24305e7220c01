"""scikit-learn's digits: the data set that needs no download."""

import numpy as np
import torch

from onepixel.datasets.dataset import Dataset
from onepixel.datasets.table import DATASETS, Source


def digits() -> Dataset:
    """scikit-learn's 8 x 8 digits: 1,797 images inside the package; every fourth is a test image."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = torch.as_tensor(np.rint(found.images * (255 / 16)).astype(np.uint8))[:, None]
    labels = torch.as_tensor(found.target.astype(np.int64))
    test = torch.arange(len(labels)) % 4 == 3
    return Dataset("digits", images[~test], labels[~test], images[test], labels[test])


DATASETS.add(Source("digits", digits))
