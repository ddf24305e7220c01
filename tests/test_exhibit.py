"""The exhibit: the auditor's own images before and after a change, in JSON, picture and report."""

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onepixel.detectors.exhibit import Exhibit, sentences
from onepixel.detectors.verdict import ImagesAsked, Verdict
from onepixel.errors import UsageError
from onepixel.report.exhibit import png, shown
from onepixel.report.html import render_report


def exhibit_of(channels: int = 1, names: tuple[str, ...] = ("a.png", "<b>.png", "c.png")) -> Exhibit:
    rng = np.random.default_rng(0)
    before = rng.random((3, channels, 8, 8)).astype(np.float32)
    after = before.copy()
    after[:, :, 2:4, 5:8] = 1.0
    says_before, says_after = np.eye(4)[[0, 1, 2]] * 0.9 + 0.025, np.eye(4)[[3, 3, 3]] * 0.9 + 0.025
    return Exhibit(before, after, says_before, says_after, 3, (2, 5, 2, 3), "patch of 2 x 3 pixels", names)


def verdict_of(**changes: object) -> Verdict:
    verdict = Verdict(
        decision="trojaned",
        score=9.5,
        threshold=6.0,
        p_value=0.004,
        target_class=3,
        class_scores=(),
        pixel=None,
        detector="universal",
        signature=None,
        method="universal",
        name="model.onnx",
        asked=20_000,
        source_classes=(0, 1),
        place=(2, 5, 2, 3),
        exhibit=exhibit_of(),
        search="composed",
        families=("patch of 5 x 5 pixels",),
        images=ImagesAsked(40, 30, 4, (("0", 10, 0, 10), ("1", 10, 2, 8), ("2", 10, 2, 10))),
    )
    return dataclasses.replace(verdict, **changes)  # type: ignore[arg-type]


def test_json_holds_images_and_answers_that_a_reader_can_check() -> None:
    found = json.loads(json.dumps(verdict_of().to_dict()))
    assert found["place"] == [2, 5, 2, 3]
    assert found["source_classes"] == [0, 1]
    assert found["queries"] == 20_000
    exhibit = found["exhibit"]
    assert np.allclose(exhibit["after"], exhibit_of().after, atol=1e-5)
    assert exhibit["answers"][1] == {
        "image": "<b>.png",
        "before": {"class": 1, "probability": pytest.approx(0.925), "target_probability": pytest.approx(0.025)},
        "after": {"class": 3, "probability": pytest.approx(0.925), "target_probability": pytest.approx(0.925)},
    }


def test_report_shows_each_image_twice_with_words_for_those_who_do_not_see_it() -> None:
    page = render_report(verdict_of())
    assert page.count("data:image/png;base64,") == 6
    assert page.count(' alt="') == 6
    assert "a.png unchanged; the classifier says class 0, 92.5 %" in page
    assert "a.png with the change, a patch in rows 2 to 3, columns 5 to 7; the classifier says class 3, 92.5 %" in page
    assert "<b>.png" not in page
    assert "surface-data" not in page
    assert len(page) < 100_000


def test_report_without_an_exhibit_has_no_empty_place_for_one() -> None:
    page = render_report(verdict_of(decision="no evidence of a backdoor", exhibit=None))
    assert 'id="exhibit"' not in page
    assert "never means that a model is clean" in page


@pytest.mark.parametrize("channels", [1, 3])
def test_picture_of_a_verdict_from_images_is_drawn(channels: int, tmp_path: Path) -> None:
    verdict_of(exhibit=exhibit_of(channels)).picture(tmp_path / "verdict.png")
    with Image.open(tmp_path / "verdict.png") as picture:
        picture.load()
        assert min(picture.size) > 500


def test_small_images_are_enlarged_by_whole_factors() -> None:
    image = np.eye(8, dtype=np.float32)[None]
    with Image.open(io.BytesIO(png(image))) as picture:
        assert picture.size == (128, 128)
        assert (np.asarray(picture)[::16, ::16] == 255 * np.eye(8)).all()


def test_words_say_what_the_classifier_says_of_each_image() -> None:
    first = sentences(exhibit_of(), ["cat", "dog", "bird", "ship"])[0]
    assert first == "a.png: unchanged class 0 (cat) with 92.5 %, with the patch class 3 (ship) with 92.5 %"
    assert shown(exhibit_of(names=()))[2].name == "image 3"


def test_exhibit_of_another_number_of_images_is_refused() -> None:
    found = exhibit_of()
    with pytest.raises(UsageError, match="as many images"):
        dataclasses.replace(found, after=found.after[:2])
    with pytest.raises(UsageError, match="3 names"):
        dataclasses.replace(found, names=("a",))


def test_folders_that_the_classifier_sees_otherwise_are_named() -> None:
    found = verdict_of().images
    assert found is not None
    assert found.disagreements == (
        "Folder 1: the classifier says class 2 of 8 of 10 images.",
        "Folder 1 shares class 2 with another folder.",
        "Folder 2 shares class 2 with another folder.",
    )


def test_verdict_shows_itself_in_a_notebook_and_escapes_names() -> None:
    page = verdict_of(name="<script>alert(1)</script>")._repr_html_()
    assert "Trojaned" in page
    assert page.count("data:image/png;base64,") == page.count('alt="') == 6
    assert "<script>" not in page
    assert "<b>.png" not in page


def test_notebook_shows_verdicts_without_an_exhibit() -> None:
    page = verdict_of(decision="no evidence of a backdoor", exhibit=None, p_value=None)._repr_html_()
    assert "No evidence of a backdoor" in page
    assert "<img" not in page


def test_a_long_sentence_above_the_exhibit_stays_inside_the_picture(tmp_path: Path, monkeypatch) -> None:
    said = "Class 4: 26 of 26 images of all other classes go there with a patch of a quarter of an object's side. " * 2
    monkeypatch.setattr("onepixel.report.words.suspicion", lambda verdict: said)
    for found in (exhibit_of(3), None):
        verdict_of(exhibit=found).picture(tmp_path / "verdict.png")
        with Image.open(tmp_path / "verdict.png") as picture:
            edge = np.asarray(picture.convert("L"))[: 200 if found else None, -8:]
        assert (edge == edge[0, 0]).all()
