"""The doors by which others start an audit, and that nothing goes out of them."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
OPTIONS = ["--architecture", "lenet5", "--outputs", "logits", "--normalize", "none"]
START = "import sys; from onepixel.cli import main; sys.exit(main())"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which `onepixel` is this checkout's."""
    command = tmp_path / "bin" / "onepixel"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(START)} "$@"\n')
    command.chmod(0o755)
    source = str(ROOT / "src")
    path = f"{command.parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": source, "XDG_STATE_HOME": str(tmp_path / "state")}


def test_the_github_action_runs_its_command_and_fails_on_a_backdoor(tmp_path: Path, environment) -> None:
    steps = yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"]
    sarif = tmp_path / "out file.sarif"
    given = {"MODELS": str(EXAMPLES / "trojaned.pth"), "OPTIONS": shlex.join(OPTIONS), "SARIF": str(sarif)}
    assert set(given) == set(steps[-1]["env"])
    done = subprocess.run(
        ["bash", "-c", steps[-1]["run"]], env={**environment, **given}, capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    assert json.loads(sarif.read_text())["runs"][0]["results"][0]["level"] == "error"


def test_the_pre_commit_hook_audits_the_files_it_is_given(environment) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    files = [str(EXAMPLES / f"{name}.safetensors") for name in ("clean", "trojaned")]
    words = [*shlex.split(hook["entry"]), *OPTIONS, *files]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "2 models: 1 trojaned, 0 without a verdict" in done.stdout


def test_an_audit_needs_no_network(environment) -> None:
    alone = ["unshare", "--net", "--map-root-user"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("this machine gives no empty network namespace (unshare --net): nothing was shown here")
    words = [*alone, "onepixel", "audit", str(EXAMPLES / "clean.pth"), *OPTIONS, "--quiet"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
