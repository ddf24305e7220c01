"""What docs/how-to/compare-a-method.md says works, to the letter."""

import csv
import importlib
import re
import sys
from pathlib import Path

import pytest

from onepixel.cli import main
from onepixel.experiments import validate
from onepixel.methods import METHODS
from onepixel.populations import build
from populations_of_digits import InProcess, digits_recipe

PAGE = (Path(__file__).parents[1] / "docs/how-to/compare-a-method.md").read_text(encoding="utf-8")
CODE = dict(re.findall(r'```python title="([^"]+)"\n(.*?)```', PAGE, flags=re.DOTALL))
COMMANDS = [line.split()[1:] for line in re.findall(r"^    (onepixel experiment .*)$", PAGE, flags=re.MULTILINE)]


@pytest.fixture
def followed(tmp_path, monkeypatch):
    """Write the file, add the row, and stand where populations are."""
    list(METHODS)
    monkeypatch.setattr(METHODS, "_rows", dict(METHODS._rows))
    package = importlib.import_module("onepixel.methods")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    (tmp_path / "favourite.py").write_text(CODE["src/onepixel/methods/favourite.py"], encoding="utf-8")
    importlib.import_module("onepixel.methods.favourite")
    row = eval(CODE["a row of GROUNDS"], {"Ground": validate.Ground})
    monkeypatch.setattr(validate, "GROUNDS", (*validate.GROUNDS, row))
    for role in ("clean", "trojaned"):
        build(digits_recipe(role, 2, epochs=6), tmp_path / "populations" / f"digits-{role}", executor=InProcess())
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("onepixel.methods.favourite", None)


def test_a_method_is_validated_and_compared_by_the_pages_two_commands(followed, capsys):
    assert [words[1] for words in COMMANDS] == ["validate", "compare"]
    for words in COMMANDS:
        assert main(words) == 0
    with Path("results/validate/validation.csv").open(encoding="utf-8") as file:
        row = next(iter(csv.DictReader(file)))
    assert (row["method"], row["clean"], row["trojaned"]) == ("favourite", "2", "2")
    page = Path("results/compare/compare.md").read_text(encoding="utf-8")
    judged = Path("results/compare/scores/favourite/digits-trojaned.csv").read_text(encoding="utf-8")
    assert len(judged.splitlines()) == 3
    if row["validated"] == "no":
        assert "Favourite class did not work on its own ground" in page
