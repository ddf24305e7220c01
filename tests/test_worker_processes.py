"""Worker processes that die."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from onepixel.errors import StoreError
from onepixel.parallel import MostUrgentFirst
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


def leave_a_trace(folder: str) -> None:
    """Say which process this is, and stay."""
    Path(folder, str(os.getpid())).touch()
    time.sleep(600)


def running(process: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def until(condition, seconds: float = 60) -> bool:
    """Wait for something, but not for ever."""
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return bool(found)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to see processes")
def test_workers_end_when_whoever_started_them_is_killed(tmp_path):
    here = Path(__file__)
    code = (
        "from onepixel.parallel import in_processes; from test_worker_processes import leave_a_trace; "
        f"list(in_processes(leave_a_trace, [{str(tmp_path)!r}] * 2, workers=2))"
    )
    found = os.pathsep.join([str(here.parent.parent / "src"), str(here.parent)])
    started = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": found})
    assert until(lambda: len(list(tmp_path.iterdir())) == 2)
    workers = [int(path.name) for path in tmp_path.iterdir()]
    assert all(running(worker) for worker in workers)
    started.kill()
    started.wait()
    assert until(lambda: not any(running(worker) for worker in workers))


def test_shared_workers_do_the_most_urgent_job_next_and_pass_errors_on() -> None:
    begun, may_end = Event(), Event()
    done: list[str] = []

    def first(job: str) -> None:
        begun.set()
        may_end.wait(10)

    with ThreadPoolExecutor(1) as pool:
        shared = MostUrgentFirst(pool, 1)
        shared.submit(first, "first", 0)
        begun.wait(10)
        later = [shared.submit(done.append, name, urgent) for name, urgent in (("b", 1), ("c", 1), ("a", 2), ("d", 0))]
        later[1].cancel()
        fault = shared.submit(int, "no number", 3)
        may_end.set()
        with pytest.raises(ValueError, match="no number"):
            fault.result(10)
        later[3].result(10)
    assert done == ["a", "b", "d"]
    with pytest.raises(RuntimeError, match="shutdown"):
        shared.submit(done.append, "too late", 0).result(10)
