"""Worker processes that die."""

import os
import signal
from pathlib import Path

import pytest

from onepixel.errors import StoreError
from onepixel.populations.executors.processes import Workers


def start(folder: Path) -> None:
    global deaths
    deaths = folder


def die_once(job: str) -> str:
    """The first process that gets the job "fatal" dies of it."""
    if job == "fatal" and not (deaths / job).exists():
        (deaths / job).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return job


@pytest.mark.slow
def test_what_a_dead_process_was_doing_is_done_again_by_a_new_one(tmp_path):
    jobs = ["one", "fatal", "two"]
    assert sorted(Workers(1, start, (tmp_path,), die_once, restarts=1).run(jobs)) == sorted(jobs)


@pytest.mark.slow
def test_after_too_many_deaths_a_build_says_that_the_rest_can_go_on(tmp_path):
    with pytest.raises(StoreError, match="Workers died 1 times; what is finished is kept"):
        list(Workers(1, start, (tmp_path,), die_once, restarts=0).run(["fatal"]))
