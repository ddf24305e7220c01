"""Damaged files at random: every loader ends with an answer, a refusal or a question, never with a crash.

Each loader is fuzzed for SECONDS of wall time, the data loaders in a process of their own, so that a crash of a parser
is seen. A longer run: `ONEPIXEL_FUZZ_SECONDS=60 pytest tests/opening/test_fuzzing.py`.
"""

import io
import os
import random
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from onepixel.errors import OnepixelError
from onepixel.loading import load_classifier
from onepixel.opening import Limits
from opening.model_files import options_for

SECONDS = float(os.environ.get("ONEPIXEL_FUZZ_SECONDS", "5"))
SMALL = Limits(memory_bytes=2 * 2**30, call_seconds=10, wall_seconds=60, processor_seconds=60)
SKOPS = ("linear.skops", "network.skops")


def damaged(contents: bytes, chance: random.Random) -> bytes:
    """A damaged copy; half of the archives have the damage inside an entry, and check sums that fit it."""
    if not zipfile.is_zipfile(io.BytesIO(contents)) or chance.random() < 0.5:
        return spoilt(contents, chance)
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(contents)) as old, zipfile.ZipFile(made, "w") as new:
        chosen = chance.choice(old.namelist())
        for name in old.namelist():
            entry = old.read(name)
            new.writestr(name, spoilt(entry, chance) if name == chosen and entry else entry)
    return made.getvalue()


def spoilt(contents: bytes, chance: random.Random) -> bytes:
    """A copy with flipped bits, overwritten or removed stretches, or a stretch that occurs twice."""
    changed = bytearray(contents)
    for _ in range(chance.choice((1, 1, 2, 8))):
        place = chance.randrange(len(changed)) if changed else 0
        # Headers and directories are where parsers can be surprised; most of a file is weights.
        if changed and chance.random() < 0.6:
            place = chance.choice((place % 4096, len(changed) - 1 - place % 4096)) % len(changed)
        match chance.randrange(4):
            case 0 if changed:
                changed[place] ^= 1 << chance.randrange(8)
            case 1:
                changed[place : place + 4] = chance.randbytes(4)
            case 2:
                del changed[place : place + chance.randrange(1, 64)]
            case _:
                changed[place:place] = changed[max(0, place - 32) : place]
    return bytes(changed)


def fuzz(form: str, source: Path, folder: Path, seconds: float) -> int:
    """Open damaged copies until the time is over; anything but an answer or one of our errors ends the process."""
    chance, contents, count = random.Random(source.name), source.read_bytes(), 0
    end = time.monotonic() + seconds
    options: dict[str, Any] = {"input_shape": (1, 4, 4), "normalize": "none"} if form == "skops" else options_for(form)
    while time.monotonic() < end or count == 0:
        path = folder / "damaged"
        path.write_bytes(damaged(contents, chance))
        try:
            classifier = load_classifier(path, limits=SMALL, **options)
            classifier(torch.zeros(1, *classifier.input_shape))
            getattr(classifier, "close", lambda: None)()
        except OnepixelError as error:
            if error.exit_status not in (2, 3) or not str(error):
                raise AssertionError("this is no refusal") from error
        count += 1
    return count


def fuzz_in_a_process(form: str, source: Path, folder: Path) -> None:
    words = [sys.executable, "-m", "opening.test_fuzzing", form, str(source), str(folder), str(SECONDS)]
    ended = subprocess.run(
        words,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=SECONDS + 200,
        check=False,
    )
    assert ended.returncode == 0, f"exit status {ended.returncode}: {ended.stderr[-2000:]}"
    print(form, source.name, ended.stdout)


@pytest.mark.parametrize("form", ["onnx", "safetensors", "state_dict"])
def test_damaged_data_files_never_crash_their_loader(form: str, files: dict[str, Path], tmp_path: Path) -> None:
    fuzz_in_a_process(form, files[form], tmp_path)


@pytest.fixture(scope="module")
def skops_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small estimators of the kinds that are opened without a sandbox."""
    skops = pytest.importorskip("skops.io")
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folder, generator = tmp_path_factory.mktemp("skops"), np.random.default_rng(0)
    images, labels = generator.random((60, 16)), np.arange(60) % 3
    estimators = (make_pipeline(StandardScaler(), LogisticRegression()), MLPClassifier((8,), max_iter=300))
    for name, estimator in zip(SKOPS, estimators, strict=True):
        skops.dump(estimator.fit(images, labels), folder / name)
    return folder


@pytest.mark.parametrize("name", SKOPS)
def test_damaged_skops_files_never_crash_their_loader(name: str, skops_files: Path, tmp_path: Path) -> None:
    fuzz_in_a_process("skops", skops_files / name, tmp_path)


@pytest.mark.parametrize("form", ["torchscript", "exported"])
def test_damaged_program_files_end_with_a_sentence(form: str, files: dict[str, Path], tmp_path: Path) -> None:
    assert fuzz(form, files[form], tmp_path, SECONDS) > 0


if __name__ == "__main__":
    print(fuzz(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])), "files")
