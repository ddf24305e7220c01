"""A wheel does what a clone does: built, installed into an environment of its own and used outside the clone."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The command of a fresh environment that sees this one's libraries, but not this clone."""
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"
    shutil.copytree(ROOT / "src" / "onepixel", sources / "src" / "onepixel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", str(sources)]
    subprocess.run([*build, "--wheel-dir", str(folder)], check=True, capture_output=True, timeout=300)
    (wheel,) = folder.glob("onepixel-*.whl")
    environment = folder / "environment"
    venv.create(environment, with_pip=False)
    libraries = sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)})
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", libraries, str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    Path(libraries, "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin" / "python"


def run(python: Path, folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command outside the clone."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    call = [str(python), "-c", "import sys; from onepixel.cli import main; sys.exit(main())", *words]
    return subprocess.run(
        call, cwd=folder, env=kept | variables, capture_output=True, text=True, timeout=500, check=False
    )


@pytest.mark.slow
def test_a_wheel_audits_prints_recipes_and_repeats_an_experiment_outside_the_clone(installed, tmp_path):
    where = "import onepixel, pathlib; print(pathlib.Path(onepixel.__file__).parent)"
    told = subprocess.run([installed, "-c", where], cwd=tmp_path, env={}, capture_output=True, text=True, check=True)
    assert told.stdout.startswith(str(installed.parent.parent))

    recipe = run(installed, tmp_path, "population", "recipe", "mnist-lenet5-clean")
    assert recipe.returncode == 0, recipe.stderr
    assert 'name = "mnist-lenet5-clean"' in recipe.stdout

    model = str(ROOT / "examples" / "trojaned.safetensors")
    options = ["--architecture", "lenet5", "--outputs", "logits", "--normalize", "none", "--json", "--quiet"]
    audit = run(installed, tmp_path, "audit", model, *options)
    assert audit.returncode in (0, 1), audit.stderr
    assert json.loads(audit.stdout)["decision"] in ("trojaned", "no evidence")

    zoo = str(ROOT / "zoo")
    for words, variables in ((["--zoo", zoo], {}), ([], {"ONEPIXEL_ZOO": zoo})):
        table = run(installed, tmp_path, "experiment", "table7", *words, **variables)
        assert table.returncode == 0, table.stderr
    examples = run(installed, tmp_path, "experiment", "rounding")
    assert examples.returncode == 0, examples.stderr
    assert "| mnist | lenet5 |" in (tmp_path / "results" / "table7" / "table7.md").read_text()
