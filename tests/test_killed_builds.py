"""A build killed at ten random moments, in the middle of training and of writing, ends with the same store."""

import multiprocessing
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from onepixel.errors import UsageError
from onepixel.populations import Recipe, build, training
from onepixel.populations.driver import only_writer
from populations_of_digits import InProcess, content, digits_recipe

SEED = 0
KILLS = 10
MOMENTS = 90
"""A kill comes after at most this many moments; one model of the recipe below has about 40."""


class KilledAfter:
    """Kills its own process after a number of moments: batches seen, and files of the store opened or renamed.

    A file about to get its final name is cut in half first, as if the kill had come while it was written.
    """

    def __init__(self, moments: int, folder: Path, cut_at: float) -> None:
        self.left = moments
        self.folder = str(folder)
        self.cut_at = cut_at
        as_input = training.as_input

        def counted(images: Any) -> Any:
            self.moment()
            return as_input(images)

        training.as_input = counted
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.rename") and str(arguments[0]).startswith(self.folder):
            self.moment(arguments[0] if event == "os.rename" else None)

    def moment(self, unfinished: Any = None) -> None:
        self.left -= 1
        if self.left == 0:
            if unfinished is not None:
                os.truncate(unfinished, int(self.cut_at * Path(unfinished).stat().st_size))
            os.kill(os.getpid(), signal.SIGKILL)


def build_until_killed(recipe: str, folder: Path, moments: int, cut_at: float) -> None:
    torch.set_num_threads(1)
    asked = Recipe.from_toml(recipe)
    KilledAfter(moments, folder, cut_at)
    build(asked, folder, executor=InProcess())


def test_a_build_killed_at_ten_random_moments_ends_with_the_same_store(tmp_path, monkeypatch):
    recipe = digits_recipe("trojaned", 8, epochs=1)
    here = Path(__file__).parent
    # The server that children are forked from imports torch once, and finds the packages by this variable alone.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(here.parent / "src"), str(here)]))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["test_killed_builds"])
    chance = random.Random(SEED)
    kept = []
    for _ in range(KILLS):
        arguments = (recipe.to_toml(), tmp_path / "killed", chance.randint(1, MOMENTS), chance.random())
        process = context.Process(target=build_until_killed, args=arguments)
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        kept.append(len(list((tmp_path / "killed").glob("models/*.json"))))
    assert kept == sorted(kept)
    assert 0 < kept[-1] < recipe.models
    finished = build(recipe, tmp_path / "killed", executor=InProcess())
    build(recipe, tmp_path / "undisturbed", executor=InProcess())
    assert content(finished.folder) == content(tmp_path / "undisturbed")


def test_two_builds_of_one_store_at_a_time_are_refused(tmp_path):
    recipe = digits_recipe("clean", 1, epochs=0.1)
    with only_writer(tmp_path / "store"), pytest.raises(UsageError, match="Another build is writing"):
        build(recipe, tmp_path / "store", executor=InProcess())
    assert build(recipe, tmp_path / "store", executor=InProcess()).unfinished() == []
