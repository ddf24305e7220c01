"""What all tests share: one thread, and data sets that may be missing."""

import pytest
import torch
from hypothesis import settings

from onepixel.datasets import Dataset, is_local, load_dataset

torch.set_num_threads(1)
settings.register_profile("without timing", deadline=None)
settings.load_profile("without timing")


def _local_or_skip(name: str) -> Dataset:
    if not is_local(name):
        pytest.skip(f"{name} is not on this machine: put it into ./data or set ONEPIXEL_DATA to run this test")
    return load_dataset(name)


@pytest.fixture(scope="session")
def mnist() -> Dataset:
    """MNIST where it is found locally; never downloaded by a test."""
    return _local_or_skip("mnist")


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """scikit-learn's digits, always there."""
    return load_dataset("digits")
