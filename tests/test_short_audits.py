"""The command's end: everything registered for it is done, and the exit status and what was printed arrive."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from onepixel.cli import main
from onepixel.version import __version__

WITH_TORCH = """
import atexit, weakref, sys, torch
from onepixel.ending import leave
class Thing: pass
thing = Thing()
finalizer = weakref.finalize(thing, print, "closed")
atexit.register(print, "ended")
print("said")
leave(3)
"""


def run(code, **streams):
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run([sys.executable, "-c", code], text=True, check=False, env=buffered, **streams)


def test_short_end_keeps_status_output_and_what_was_registered_for_the_end():
    done = run(WITH_TORCH, capture_output=True)
    assert done.returncode == 3
    assert sorted(done.stdout.split()) == ["closed", "ended", "said"]
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_an_error_as_ever():
    with Path("/dev/full").open("w") as full:
        done = run(WITH_TORCH, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 120
    assert "No space left" in done.stderr


def test_module_runs_as_the_command_does():
    done = subprocess.run([sys.executable, "-m", "onepixel", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, __version__)


def test_help_does_not_import_torch():
    code = "import sys; from onepixel.cli import main; main(['audit', '--help']); print('torch' in sys.modules)"
    assert run(code, capture_output=True).stdout.splitlines()[-1] == "False"


def test_onnx_graph_is_opened_without_the_compiler_of_torch():
    example = Path(__file__).parents[1] / "examples" / "clean.onnx"
    code = (
        f"import sys, onepixel; onepixel.load_classifier({str(example)!r}, outputs='logits', normalize='none'); "
        "print('torch._dynamo' in sys.modules, 'sympy' in sys.modules)"
    )
    assert run(code, capture_output=True).stdout.split() == ["False", "False"]


def test_search_by_gradient_needs_no_compiler_of_torch():
    examples = Path(__file__).parents[1] / "examples"
    code = f"""
import sys
from onepixel.starting import shorten_import_of_torch
shorten_import_of_torch()
import numpy as np, onepixel
from onepixel.reaches import Patch, reach, sample_images
network = onepixel.load_classifier({str(examples / "clean.onnx")!r}, outputs="logits", normalize=((0.1307,), (0.3081,)))
held = np.load({str(examples / "images.npz")!r})
few = np.isin(held["labels"], (0, 1))
images = held["images"][few][:, None].astype(np.float32) / (255 if held["images"].dtype == np.uint8 else 1)
found = reach(network, sample_images(network, images, held["labels"][few]), family=Patch(5), search="gradient")
left_out = [name for name in ("torch._dynamo", "sympy", "torch._meta_registrations") if name not in sys.modules]
print(found.search, len(found) > 0, len(left_out))
"""
    done = run(code, capture_output=True)
    assert (done.stdout.split(), done.stderr) == (["gradient", "True", "3"], "")


@pytest.mark.parametrize(("said", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_that_wait_sleep_unless_the_environment_says_otherwise(monkeypatch, said, expected):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if said is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", said)
    assert main(["audit", "nothing.pth", "--architecture", "lenet5"]) == 2
    assert os.environ["OMP_WAIT_POLICY"] == expected
