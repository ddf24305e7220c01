"""Help comes at once: it imports neither what computes nor the commands that were not asked for."""

import subprocess
import sys

import pytest

from onepixel.cli import COMMANDS, main

HEAVY = ("torch", "numpy", "sklearn", "scipy", "matplotlib")
COMMAND = "import sys; from onepixel.cli import main; main(sys.argv[1:]); print('imported:', *sys.modules)"


def told_and_imported(*words: str) -> tuple[str, set[str]]:
    done = subprocess.run([sys.executable, "-c", COMMAND, *words], capture_output=True, text=True, check=True)
    told, _, imported = done.stdout.rpartition("imported:")
    return told, set(imported.split())


def test_the_list_of_commands_imports_none_of_them_and_no_library_but_the_command_lines():
    told, imported = told_and_imported("--help")
    assert all(name in told for name in COMMANDS)
    own = {name for name in imported if name.split(".")[0] == "onepixel"}
    assert own == {
        "onepixel",
        "onepixel.cli",
        "onepixel.cli.later",
        "onepixel.ending",
        "onepixel.errors",
        "onepixel.printable",
        "onepixel.version",
    }
    assert not imported & {*HEAVY, "pydantic"}


@pytest.mark.parametrize("words", [["experiment", "table3"], ["audit"]])
def test_help_imports_nothing_that_computes(words):
    told, imported = told_and_imported(*words, "--help")
    assert "Usage: onepixel" in told
    assert not imported & set(HEAVY)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_of_a_command_what_its_own_help_begins_with(name):
    command = COMMANDS[name].load(name)
    assert command.name == name
    assert " ".join(command.help.split("\n\n")[0].split()) == COMMANDS[name].summary


def test_a_misspelt_command_is_answered_with_the_nearest_one(capsys):
    assert main(["audti"]) == 2
    assert "Did you mean 'audit'?" in capsys.readouterr().err
