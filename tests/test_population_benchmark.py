"""The benchmark of population builds runs, on digits, and says what it compares."""

import importlib.util
from pathlib import Path

import pytest

from onepixel.populations import build
from populations_of_digits import InProcess, digits_recipe

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "population.py"


@pytest.mark.slow
def test_the_quick_benchmark_compares_at_equal_accuracy_and_reads_a_population(tmp_path):
    specification = importlib.util.spec_from_file_location("population_benchmark", SCRIPT)
    benchmark = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(benchmark)
    population = build(digits_recipe("clean", 2), tmp_path / "clean", executor=InProcess()).folder
    benchmark.main(["--quick", "--networks", "1", "--output", str(tmp_path), "--population", str(population)])
    text = (tmp_path / "population-benchmark.md").read_text()
    assert "times the networks per hour of the best loop on cpu" in text
    assert "did not reach" not in text
    assert "From one worker to" in text
    assert "2 networks, one per seed" in text
    assert "s of one worker with one thread per slot" in text
    assert (tmp_path / "population-benchmark.csv").read_text().startswith("way,networks,epochs,accuracy,seconds,")
