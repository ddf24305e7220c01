"""What all tests share: one thread, and data sets and a browser that may be missing."""

import shutil
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings
from playwright.sync_api import Browser, Error, sync_playwright

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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium, where there is one."""
    installed = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=installed, args=["--no-sandbox"])
        except Error as error:
            pytest.skip(f"NO PAGE WAS LOOKED AT: no Chromium (apt install chromium, or make browser): {error}")
        yield chromium
        chromium.close()
