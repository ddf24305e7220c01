"""What the project promises about itself: one version, a changelog, commands that are listed."""

import re
import tomllib
from pathlib import Path

import onepixel

ROOT = Path(__file__).parents[1]


def test_the_version_stands_in_one_place_and_the_citation_follows_it():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "onepixel.version.__version__"}
    assert f"\nversion: {onepixel.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_changelog_has_a_place_for_the_next_change_and_this_version():
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert onepixel.__version__ in headings


def test_every_make_command_is_listed_by_make_help():
    makefile = (ROOT / "Makefile").read_text()
    commands = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert commands is not None
    explained = re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)
    assert sorted(commands[1].split()) == sorted(explained)


def test_commits_are_checked_by_the_programs_that_make_lint_runs():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    lint = re.search(r"^lint:.*\n((?:\t.+\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert lint is not None
    for program in set(re.findall(r"\$\(BIN\)/(\w+)", lint[1])):
        assert f".venv/bin/{program}" in hooks
    assert "https://" not in hooks
