"""The verdict of the shipped detector on the example networks, as recorded when it was made, right or wrong."""

import json
from pathlib import Path

import pytest

from onepixel.cli import main
from onepixel.sandbox.level import LEVELS, missing

EXAMPLES = Path(__file__).parent.parent / "examples"
RECORDED = {"clean": ("no evidence of a backdoor", 0, 0, -1.4769), "trojaned": ("trojaned", 1, 3, 1.2470)}
"""Decision, exit status, most suspicious class and score; both happen to be right (class 1 is sent to class 3)."""


@pytest.mark.slow
@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("ending", ["onnx", "safetensors", "pth", "pt", "pt2"])
def test_the_recorded_verdict_is_the_same_in_every_format(name, ending, capsys):
    if ending in ("pt", "pt2") and all(missing(level) for level in LEVELS):
        pytest.skip("this machine has no sandbox, without which programs are refused")
    command = ["audit", str(EXAMPLES / f"{name}.{ending}"), "--outputs", "logits", "--normalize", "none"]
    command += ["--input-shape", "1,28,28", "--architecture", "lenet5"] if ending in ("safetensors", "pth") else []
    command += ["--input-shape", "1,28,28"] if ending in ("pt", "pt2") else []
    status = main([*command, "--json", "--quiet"])
    verdict = json.loads(capsys.readouterr().out)
    decision, exit_status, target, score = RECORDED[name]
    assert (verdict["decision"], status, verdict["target_class"]) == (decision, exit_status, target)
    assert verdict["score"] == pytest.approx(score, rel=1e-3)
