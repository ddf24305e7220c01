"""The script that holds tables made again against those that are kept."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KEPT = "method,seed,rate,seconds\nours,0,0.9000,10.0\nours,1,0.9500,11.0\ntheirs,0,0.5000,1.0\n"


@pytest.fixture(scope="module")
def script():
    found = importlib.util.spec_from_file_location("same_numbers", ROOT / "benchmarks" / "same_numbers.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def compare(script, folder: Path, made: str, name: str = "table.csv") -> int:
    for where, text in (("made", made), ("kept", KEPT)):
        path = folder / where / "table" / (name if where == "made" else "table.csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return script.main([str(folder / "made"), str(folder / "kept")])


def test_fewer_seeds_and_other_seconds_are_the_same_table(script, tmp_path, capsys):
    assert compare(script, tmp_path, "method,seed,rate,seconds\nours,0,0.9000,99.0\n") == 0
    assert "1 of 1 rows found again, of 3 kept; no number differs" in capsys.readouterr().out


def test_a_number_may_differ_as_much_as_seeds_do_and_no_more(script, tmp_path, capsys):
    assert compare(script, tmp_path, "method,seed,rate,seconds\nours,0,0.9400,1.0\n") == 0
    assert compare(script, tmp_path, "method,seed,rate,seconds\nours,0,0.9600,1.0\n") == 1
    assert "ours, 0: rate 0.9000 kept, 0.9600 made" in capsys.readouterr().out


def test_rows_of_one_seed_may_differ_as_much_as_others_of_their_folder(script, tmp_path, capsys):
    assert compare(script, tmp_path, "method,seed,rate,seconds\ntheirs,0,0.5400,1.0\n") == 0
    assert compare(script, tmp_path, "method,seed,rate,seconds\ntheirs,0,0.5600,1.0\n") == 1
    assert "theirs, 0: rate 0.5000 kept, 0.5600 made" in capsys.readouterr().out


def test_rows_and_tables_without_a_partner_are_listed(script, tmp_path, capsys):
    assert compare(script, tmp_path, "method,seed,rate,seconds\nothers,0,0.9000,1.0\n") == 1
    said = capsys.readouterr().out
    assert "no row was found again" in said
    assert "1 of 1 made" in said
    assert compare(script, tmp_path / "other", KEPT, name="another.csv") == 1
    said = capsys.readouterr().out
    assert "table/another.csv" in said
    assert "Kept, and not made" in said


def test_the_networks_inside_the_package_are_those_of_the_examples():
    inside = ROOT / "src" / "onepixel" / "experiments" / "examples"
    for path in inside.glob("*.safetensors"):
        assert path.read_bytes() == (ROOT / "examples" / path.name).read_bytes()
    assert len(list(inside.glob("*.safetensors"))) == 2
