"""Files and helpers that the tests of opening share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from onepixel.cli import main
from opening.model_files import WRITERS, network

Refused = Callable[..., str]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same LeNet-5 in every format, under names that tell nothing."""
    folder = tmp_path_factory.mktemp("formats")
    module = network()
    return {form: write(module, folder / f"{number}.model") for number, (form, write) in enumerate(WRITERS.items())}


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A path that payloads try to make; no test may ever find it."""
    return tmp_path / "payload-ran"


@pytest.fixture
def refused(tmp_path: Path, marker: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run `onepixel signature` on a file; it must end with status 3, one sentence, no result and no payload run."""

    def run(path: Path, *options: str) -> str:
        out = tmp_path / "out.safetensors"
        words = ["signature", str(path), "--out", str(out), "--quiet", "--values", "2", "--stride", "14"]
        status = main([*words, "--normalize", "none", *options])
        said = capsys.readouterr().err
        assert (status, said.count("\n")) == (3, 1), said
        assert not out.exists()
        assert not marker.exists()
        return said

    return run
