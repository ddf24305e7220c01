"""The demo ends with an exhibit: in the printed verdict, in the report and beside its picture."""

from pathlib import Path

from onepixel.detectors.universal_calibration import Calibration
from onepixel.experiments.demo import last_word, recipe, suspect
from onepixel.populations import build
from populations_of_digits import InProcess


def test_the_demo_ends_with_the_exhibit(tmp_path: Path) -> None:
    one = recipe("virus").model_copy(update={"models": 1})
    classifier, target = suspect(build(one, tmp_path / "virus", executor=InProcess()))
    clean = tuple(number / 20 for number in range(20))
    calibration = Calibration({"patch_pair": (7.7, 2.1), "patch_all": (-6.8, 1.3)}, {"a": clean}, {"a": (9.0,)}, 1.05)
    said: list[str] = []
    verdict = last_word(classifier, calibration, tmp_path, said.append)
    assert verdict.decision == "trojaned"
    assert verdict.target_class == target
    printed = "\n".join(said)
    assert "trojaned, score" in printed
    assert f"digits go to class {target} with the patch" in printed
    assert "test digit" in printed
    assert "test digit" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert (tmp_path / "verdict.png").stat().st_size > 0
