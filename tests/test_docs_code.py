"""Python in the documentation: every block compiles, and the README's audit says what the README says."""

import re
from pathlib import Path

import pytest

from onepixel.architectures.table import ARCHITECTURES

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_in_a_page_compiles(page: Path):
    for block in BLOCK.findall(page.read_text()):
        compile(block, str(page), "exec")


def test_the_readme_finds_the_backdoor_of_its_example(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(ROOT)
    (block,) = BLOCK.findall((ROOT / "README.md").read_text())
    exec(compile(block, "README.md", "exec"), {})
    decision, p_value, target = capsys.readouterr().out.split()
    assert (decision, target) == ("trojaned", "3")
    assert float(p_value) < 0.05


def test_the_page_about_weights_names_every_architecture():
    page = (ROOT / "docs/how-to/audit-a-state-dict.md").read_text(encoding="utf-8")
    assert [name for name in ARCHITECTURES if f"`{name}`" not in page] == []
