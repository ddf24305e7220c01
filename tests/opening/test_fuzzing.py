"""Damaged files at random: every loader ends with an answer, a refusal or a question, never with a crash.

Each data loader is fuzzed for ONEPIXEL_FUZZ_SECONDS (4 unless set) of wall time, in a process of its own, so that a
crash of a parser is seen; program loaders, of which every start takes seconds, for a fixed few files.
"""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from onepixel.errors import OnepixelError
from onepixel.opening import Limits, load_classifier
from opening.model_files import options_for

SECONDS = float(os.environ.get("ONEPIXEL_FUZZ_SECONDS", "4"))
SMALL = Limits(memory_bytes=2 * 2**30, call_seconds=10, wall_seconds=60, processor_seconds=60)


def damaged(contents: bytes, chance: random.Random) -> bytes:
    """A copy with flipped bits, overwritten or removed stretches, or a stretch that occurs twice."""
    changed = bytearray(contents)
    for _ in range(chance.choice((1, 1, 2, 8))):
        place = chance.randrange(len(changed))
        # Headers and directories are where parsers can be surprised; most of a file is weights.
        if chance.random() < 0.6:
            place = chance.choice((place % 4096, len(changed) - 1 - place % 4096)) % len(changed)
        match chance.randrange(4):
            case 0:
                changed[place] ^= 1 << chance.randrange(8)
            case 1:
                changed[place : place + 4] = chance.randbytes(4)
            case 2:
                del changed[place : place + chance.randrange(1, 64)]
            case 3:
                changed[place:place] = changed[max(0, place - 32) : place]
    return bytes(changed)


def fuzz(form: str, source: Path, folder: Path, seconds: float) -> int:
    """Open damaged copies until the time is over; anything but an answer or one of our errors ends the process."""
    chance, contents, count = random.Random(form), source.read_bytes(), 0
    end = time.monotonic() + seconds
    options = {"sandbox": "programs", "limits": SMALL, **options_for(form)}
    while time.monotonic() < end:
        path = folder / "damaged"
        path.write_bytes(damaged(contents, chance))
        try:
            load_classifier(path, **options)
        except OnepixelError as error:
            if error.exit_status not in (2, 3) or not str(error):
                raise AssertionError("this is no refusal") from error
        count += 1
    return count


@pytest.mark.parametrize("form", ["onnx", "safetensors", "state_dict"])
def test_damaged_data_files_never_crash_their_loader(form: str, files: dict[str, Path], tmp_path: Path) -> None:
    words = [sys.executable, "-m", "opening.test_fuzzing", form, str(files[form]), str(tmp_path), str(SECONDS)]
    ended = subprocess.run(
        words,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=SECONDS + 200,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert int(ended.stdout) > 0


@pytest.mark.parametrize("form", ["torchscript", "exported"])
def test_damaged_program_files_end_with_a_sentence(form: str, files: dict[str, Path], tmp_path: Path) -> None:
    chance, contents = random.Random(form), files[form].read_bytes()
    for _ in range(3):
        path = tmp_path / "damaged"
        path.write_bytes(damaged(contents, chance))
        try:
            load_classifier(path, limits=SMALL, **options_for(form)).close()
        except OnepixelError as error:
            if error.exit_status not in (2, 3):
                raise AssertionError("this is no refusal") from error


if __name__ == "__main__":
    print(fuzz(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])))
