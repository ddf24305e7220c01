"""The benchmark of signatures runs as its command is written, and its roofline counts what windows need."""

import csv
import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from safetensors.torch import save_file
from torch import nn

from onepixel.architectures import architecture
from onepixel.classifiers import ModuleClassifier

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script with its neighbours, and one network on a grid of two values and two rows."""
    monkeypatch.syspath_prepend(FOLDER)
    for path in FOLDER.glob("*.py"):  # so that none of these plain names stays behind
        monkeypatch.setitem(sys.modules, path.stem, None)
        del sys.modules[path.stem]
    script = importlib.import_module("signature")
    subjects = importlib.import_module("signature_subjects")
    one = (subjects.Subject("lenet5", "mnist", (1, 28, 28), 2, 10, sampled_rows=2),)
    for module in (script, importlib.import_module("peak_memory")):
        monkeypatch.setattr(module, "SUBJECTS", one)
    return script


def test_the_benchmark_times_every_way_and_says_where_the_weights_come_from(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights.safetensors"
    save_file(architecture("lenet5").build(10).state_dict(), weights)
    words = ["--quick", "--stacked", "1", "--stride", "27", "--output", str(tmp_path), "--weights", f"lenet5={weights}"]
    monkeypatch.setattr(sys, "argv", ["signature.py", *words, "--starts", "black", "grey"])
    benchmark.main()
    page = (tmp_path / "signature-benchmark.md").read_text()
    assert "- weights: lenet5: trained, weights.safetensors of SHA-256" in page
    assert "## 4 LeNet-5s on cpu, every 27th row and column" in page
    with (tmp_path / "signature-benchmark.csv").open() as file:
        every = list(csv.DictReader(file))
    assert {row["network"] for row in every} == {"lenet5", "lenet5, grey"}
    rows = {row["way"]: row for row in every[:4]}
    assert list(rows) == ["one image at a time", "best batches", "incremental", "adaptive"]
    assert all(float(row["seconds"]) > 0 for row in rows.values())
    assert float(rows["incremental"]["largest_difference"]) < 1e-6
    assert (tmp_path / "signature-benchmark.png").stat().st_size
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["signature.py", "--alone", f'["lenet5", "incremental", "{weights}", "grey"]'])
    benchmark.main()
    assert float(capsys.readouterr().out) > 100


def test_weights_of_an_unknown_network_are_wrong_usage(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["signature.py", "--weights", "lenet6=here"])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert "--weights takes NETWORK=FILE of files that are there" in capsys.readouterr().err


def test_the_roofline_counts_the_windows_of_a_changed_pixel(benchmark: ModuleType) -> None:
    module = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Flatten(), nn.Linear(75, 2))
    mask = np.zeros((5, 5), dtype=bool)
    mask[2, 2] = True
    roofline = importlib.import_module("roofline")
    windows, full = roofline.window_multiply_adds(ModuleClassifier(module, (1, 5, 5)), mask)
    assert windows == 9 * 3 + 9 * 3 * 2  # nine numbers of each of three maps change, and each meets two outputs
    assert full == 75 * 9 + 75 * 2


def test_all_rows_cost_what_every_run_has_and_a_part_for_each(benchmark: ModuleType) -> None:
    ways = importlib.import_module("signature_ways")
    assert ways.of_all_rows(one=3.0, several=5.0, sampled=3, rows=10) == 12.0
    subject = importlib.import_module("signature_subjects").Subject(
        "alexnet", "mnist", (1, 28, 28), 4, 10, sampled_rows=3
    )
    assert (subject.mask().sum(), subject.first_rows(1).sum()) == (3 * 28, 28)
