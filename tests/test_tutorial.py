"""The tutorial's commands, run as it says in a copy of the examples, and the notebook beside them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PAGE = (ROOT / "docs" / "tutorial.md").read_text()
SETTING_UP = "    cd examples\n    pip install '..[all]'\n"
STEP = re.compile(  # an indented block, which may have blank lines inside, and the status below it
    r"(?P<command>^    .*\n(?:\n*    .*\n)*)(?:\nExit status: (?P<status>\d)\.\n)?", re.MULTILINE
)
OUTPUT = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
pytestmark = pytest.mark.slow


def unnumbered(text: str) -> str:
    """A text with all numbers alike that may differ between machines: all but the class that is named.

    The spaces that align a column with them go too.
    """
    return re.sub(r" +", " ", re.sub(r"(?<!class )(?<![\w.])-?\d[\d.,]*\d|(?<!class )(?<![\w.])-?\d", "#", text))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which `onepixel` and `python` are the ones under test."""
    programs = tmp_path_factory.mktemp("programs")
    command = programs / "onepixel"
    command.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -c "import sys; from onepixel.cli import main; sys.exit(main())" "$@"\n'
    )
    command.chmod(0o755)
    (programs / "python").symlink_to(sys.executable)
    return {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "XDG_STATE_HOME": str(tmp_path_factory.mktemp("state")),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "300",
    }


def test_every_command_ends_and_says_as_the_tutorial_does(tmp_path: Path, environment: dict[str, str]):
    folder = tmp_path / "examples"
    shutil.copytree(EXAMPLES, folder)
    assert SETTING_UP in PAGE
    steps = list(STEP.finditer(OUTPUT.sub("", PAGE.replace(SETTING_UP, ""))))
    assert len(steps) == PAGE.count("Exit status: ") >= 6
    said = ""
    for step in steps:
        command = re.sub("^    ", "", step["command"], flags=re.MULTILINE)
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert str(done.returncode) == step["status"], f"{command}\n{done.stdout}\n{done.stderr}"
        said += done.stdout + done.stderr
    lines = [line for block in OUTPUT.findall(PAGE) for line in block.splitlines()]
    assert len(lines) > 15
    assert [line for line in lines if unnumbered(line) not in unnumbered(said)] == []
    for name in ("audit.html", "audit.sarif", "audit.json"):
        assert (folder / name).stat().st_size > 1000


def test_the_ticket_has_the_numbers_of_the_second_look():
    look = re.search(r"score +([\d.]+) \(trojaned from ([\d.]+) on\)\n  search ", PAGE)
    ticket = re.search(r"^Score ([\d.]+), trojaned from ([\d.]+) on", PAGE, re.MULTILINE)
    assert look is not None
    assert ticket is not None
    assert [f"{float(number):.2f}" for number in look.groups()] == list(ticket.groups())


def test_the_notebook_runs_and_shows_the_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(tmp_path / "audit.ipynb", as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells), "outputs are not committed"
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    shown = [output.data for cell in cells for output in cell.outputs if "data" in output]
    (verdict,) = [data["text/html"] for data in shown if "text/html" in data]
    assert "trojaned" in verdict.lower()
    assert "class 3" in verdict
    assert any("image/png" in data for data in shown)
