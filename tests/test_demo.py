"""The demo ends with an exhibit: printed, in the report, and in the picture's verdict."""

from pathlib import Path

import pytest

from onepixel.experiments import demo
from onepixel.populations import Recipe, Thresholds
from populations_of_digits import InProcess

SMALL = {"clean": 6, "vaccine": 6, "stamped": 1, "clean-unseen": 4, "virus": 2}


def small_recipe(name: str) -> Recipe:
    """The demo's own recipe, without thresholds, so that six networks are six."""
    return whole_recipe(name).model_copy(update={"thresholds": Thresholds(enforced=False)})


whole_recipe = demo.recipe


def test_the_demo_ends_with_the_exhibit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "MODELS", SMALL)
    monkeypatch.setattr(demo, "recipe", small_recipe)
    monkeypatch.setattr(demo, "LocalExecutor", lambda workers: InProcess())
    said: list[str] = []
    demo.run(tmp_path, workers=1, say=said.append)
    printed = "\n".join(said)
    last = printed[printed.index("with 120 real digits") :]
    assert "trojaned, score" in last
    assert "digits go to class" in last
    assert "with the patch class" in last
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "test digit" in report
    for name in ("verdict.png", "signature.html", "signature.png", "universal.json", "detector.safetensors"):
        assert (tmp_path / name).stat().st_size > 0
