"""The picture and the HTML report of an audit."""

import base64
import dataclasses
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

import onepixel
from onepixel.architectures import architecture
from onepixel.detectors.verdict import Verdict
from onepixel.errors import UsageError
from onepixel.report import words
from onepixel.report.figures import UNVISITED
from onepixel.report.html import channel_image, render_report, write_report
from onepixel.report.scale import colour_scale
from onepixel.report.scores import stacked
from onepixel.report.signature import (
    MOST_CHANNELS,
    best_columns,
    draw_channel,
    save_channels,
    save_rows,
    shown_channels,
)
from onepixel.report.surface import surface_grid
from onepixel.report.verdict import save_verdict
from onepixel.signatures import DEFINITIONS, Settings, Signature

HOSTILE = "\"'><img src=x onerror=alert(1)></script><script>alert(2)</script>{{ 7 * 7 }}$\\frac{\x1b[31m\u202e"


def signature_of(
    classes: int = 4, height: int = 8, width: int = 8, mask: np.ndarray | None = None, name: str = "model.onnx"
) -> Signature:
    rng = np.random.default_rng(0)
    base = rng.normal(-2, 1, classes)
    low = base[:, None, None] - rng.random((classes, height, width))
    high = base[:, None, None] + rng.random((classes, height, width))
    if mask is not None:
        low, high = np.where(mask, low, np.nan), np.where(mask, high, np.nan)
    return Signature(low, high, base, Settings(), "exhaustive", 16385, name, "a note", {"error": 0.01})


def verdict_of(signature: Signature | None = None, **changes: object) -> Verdict:
    signature = signature or signature_of()
    classes = signature.shape[0]
    verdict = Verdict(
        decision="trojaned",
        score=2.25,
        threshold=0.5,
        p_value=0.0099,
        target_class=classes - 1,
        class_scores=tuple(float(k) for k in range(classes)),
        pixel=(0, 0),
        detector="mnist-lenet5",
        signature=signature,
        clean_scores=(-1.0, -0.5, 0.1),
        trojaned_scores=(0.4, 1.5, 3.0),
    )
    return dataclasses.replace(verdict, **changes)


@pytest.fixture(scope="module")
def network_signature() -> Signature:
    torch.manual_seed(0)
    module = architecture("digits_cnn").build(10)
    return onepixel.signature(onepixel.as_classifier(module, input_shape=(1, 8, 8)), values=4)


class Page(HTMLParser):
    """What a browser would see: tags with attributes, visible text, and the contents of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.styles, self.text, self._inside = "", "", ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        self._inside = tag if tag in ("script", "style") else ""
        if tag == "script":
            self.scripts.append((dict(attributes), ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            attributes, before = self.scripts[-1]
            self.scripts[-1] = (attributes, before + data)
        elif self._inside == "style":
            self.styles += data
        else:
            self.text += data

    def data(self, name: str) -> dict:
        return json.loads(next(text for attributes, text in self.scripts if attributes.get("id") == name))

    @property
    def policy(self) -> str:
        return next(a["content"] for tag, a in self.tags if a.get("http-equiv") == "Content-Security-Policy") or ""


SHAPES = {
    "two classes": (2, 8, 8, None),
    "43 classes": (43, 6, 6, None),
    "wide": (3, 4, 30, None),
    "one row": (3, 1, 12, None),
    "one pixel": (2, 1, 1, None),
    "stride": (4, 8, 8, np.indices((8, 8)).sum(0) % 2 == 0),
    "one visited pixel": (4, 8, 8, np.arange(64).reshape(8, 8) == 0),
}


@pytest.mark.parametrize("case", SHAPES)
def test_pictures_and_report_take_any_shape_and_any_visited_pixels(case: str, tmp_path: Path) -> None:
    classes, height, width, mask = SHAPES[case]
    signature = signature_of(classes, height, width, mask)
    signature.plot(tmp_path / "channels.png")
    save_verdict(verdict_of(signature), tmp_path / "verdict.png")
    for name in ("channels.png", "verdict.png"):
        with Image.open(tmp_path / name) as picture:
            picture.load()
            assert min(picture.size) > 100
    page = Page(render_report(verdict_of(signature)))
    assert len([1 for tag, a in page.tags if tag == "button" and "tile" in (a["class"] or "")]) == classes


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_every_definition_is_drawn(definition: str, network_signature: Signature, tmp_path: Path) -> None:
    save_channels(network_signature, tmp_path / "channels.png", definition)
    assert Image.open(tmp_path / "channels.png").format == "PNG"
    assert definition in Page(render_report(verdict_of(network_signature), definition)).text


def test_a_signature_without_any_change_is_drawn(tmp_path: Path) -> None:
    flat = Signature(np.zeros((2, 4, 4)), np.zeros((2, 4, 4)), np.zeros(2))
    save_verdict(verdict_of(flat), tmp_path / "verdict.png")
    render_report(verdict_of(flat))


@pytest.mark.parametrize("ending", [".svg", ".pdf"])
def test_the_ending_says_the_format(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"channels{ending}"
    signature_of(2).plot(path)
    assert path.read_bytes()[:5] in (b"<?xml", b"%PDF-")


@pytest.mark.parametrize("name", ["picture.txt", "picture", "missing/picture.png"])
def test_a_picture_that_cannot_be_written_is_one_error_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        save_verdict(verdict_of(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Cannot write"):
        write_report(verdict_of(), tmp_path / "missing" / "report.html")


def test_an_unknown_definition_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="definition"):
        save_verdict(verdict_of(), tmp_path / "verdict.png", "loudness")


def test_unvisited_pixels_are_grey_and_hatched_in_pictures() -> None:
    channel = np.array([[0.5, np.nan]])
    figure = Figure(figsize=(4, 2), dpi=100)
    canvas = FigureCanvasAgg(figure)
    draw_channel(figure.add_axes((0, 0, 1, 1)), channel, colour_scale("change", channel))
    canvas.draw()
    half = np.asarray(canvas.buffer_rgba())[20:180, 220:380, :3]
    grey = int(UNVISITED[1:3], 16)
    assert (half == grey).all(axis=2).mean() > 0.3
    assert (half < grey - 20).all(axis=2).any()


def test_unvisited_pixels_are_transparent_in_the_report_and_no_others() -> None:
    channel = np.array([[0.5, np.nan, -0.2], [np.nan, 0.0, 0.1]])
    uri = channel_image(channel, colour_scale("change", channel))
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGBA"))
    assert picture.shape == (2, 3, 4)
    np.testing.assert_array_equal(picture[..., 3] == 0, np.isnan(channel))


def test_changes_are_coloured_around_zero_and_the_rest_from_low_to_high() -> None:
    values = np.array([-0.1, 0.4])
    change, highest = colour_scale("change", values), colour_scale("max", values)
    assert (change.low, change.high) == (-0.4, 0.4)
    assert (highest.low, highest.high) == (-0.1, 0.4)


def test_a_stride_leaves_no_gap_in_the_surface() -> None:
    channel = np.full((6, 6), np.nan)
    channel[::2, ::3] = np.arange(6).reshape(3, 2)
    x, y, z = surface_grid(channel)
    assert x.tolist() == [0, 3]
    assert y.tolist() == [0, 2, 4]
    np.testing.assert_array_equal(z, np.arange(6).reshape(3, 2))


def test_a_missing_pixel_of_the_surface_stands_as_high_as_its_nearest_neighbour() -> None:
    channel = np.array([[1.0, np.nan, 5.0, 5.0], [1.0, 1.0, 5.0, 5.0]])
    _, _, z = surface_grid(channel)
    assert z[0, 1] in (1.0, 5.0)
    assert np.isfinite(z).all()


def test_a_single_row_becomes_a_strip() -> None:
    _, y, z = surface_grid(np.array([[1.0, 2.0, 3.0]]))
    assert y.tolist() == [-0.5, 0.5]
    assert z.tolist() == [[1, 2, 3], [1, 2, 3]]


@given(st.lists(st.floats(-10, 10), max_size=60))
def test_no_two_dots_of_a_pile_lie_on_each_other(scores: list[float]) -> None:
    levels = stacked(scores, -10, 10, bins=20)
    places = {(int((score + 10) // 1), int(level)) for score, level in zip(scores, levels, strict=True)}
    assert len(places) == len(scores)


@given(st.integers(1, 100), st.floats(0.1, 10))
def test_a_grid_of_channels_wastes_less_than_a_row(count: int, aspect: float) -> None:
    assert 1 <= best_columns(count, aspect, 8, 4) <= count


def test_of_very_many_classes_those_that_deviate_most_and_the_suspicious_one_are_shown() -> None:
    values = np.zeros((200, 3, 3))
    values[150, 1, 1] = 1.0
    shown = shown_channels(values, keep=[77])
    assert len(shown) == MOST_CHANNELS
    assert {77, 150} <= set(shown)
    assert shown == sorted(shown)
    text = render_report(verdict_of(signature_of(200, 2, 2), target_class=77))
    assert "64 of 200 classes" in text
    assert re.search(r'class="tile suspicious" data-k="77"', text)


def test_rows_need_one_number_of_classes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="number of classes"):
        save_rows({"a": signature_of(2), "b": signature_of(3)}, tmp_path / "rows.png")


def test_a_trojaned_verdict_says_so_in_words() -> None:
    verdict = verdict_of()
    page = Page(render_report(verdict))
    assert words.headline(verdict) == "Trojaned"
    for said in ("called trojaned", "score of 2.25", "threshold of 0.5", "exit status 1", "0.99 %"):
        assert said in page.text, said
    assert "Class 3 is the most suspicious one, and in it the pixel in row 0, column 0" in page.text
    assert all(assumption in page.text for assumption in verdict.assumptions)


def test_a_verdict_without_evidence_never_calls_the_model_clean() -> None:
    verdict = verdict_of(decision="no evidence of a backdoor", score=-1.0, p_value=0.5)
    assert words.headline(verdict) == "No evidence of a backdoor"
    assert "attack families this detector was tested on" in words.reason(verdict)
    page = Page(render_report(verdict))
    assert "exit status 0" in page.text
    assert "never means that a model is clean" in page.text


def test_without_calibration_there_is_no_p_value_and_the_report_says_why(tmp_path: Path) -> None:
    verdict = verdict_of(p_value=None)
    assert "not calibrated" in words.p_value(verdict)
    page = Page(render_report(verdict))
    assert "There is no p-value" in page.text
    assert "p =" not in page.text
    save_verdict(verdict, tmp_path / "verdict.png")


@pytest.mark.parametrize(
    ("decision", "p_value", "cautioned"),
    [
        ("trojaned", 0.2, True),
        ("trojaned", 0.01, False),
        ("trojaned", None, False),
        ("no evidence of a backdoor", 0.01, True),
        ("no evidence of a backdoor", 0.2, False),
    ],
)
def test_the_report_cautions_where_threshold_and_p_value_disagree(
    decision: str, p_value: float | None, cautioned: bool
) -> None:
    verdict = verdict_of(decision=decision, p_value=p_value)
    assert (words.disagreement(verdict) is not None) == cautioned
    assert ('class="caution"' in render_report(verdict)) == cautioned


def test_a_detector_without_reference_scores_is_reported(tmp_path: Path) -> None:
    verdict = verdict_of(clean_scores=(), trojaned_scores=())
    save_verdict(verdict, tmp_path / "verdict.png")
    assert "carries no scores of known models" in render_report(verdict)


def test_the_report_loads_nothing() -> None:
    page = Page(render_report(verdict_of()))
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for name in ("src", "href", "srcset", "data", "poster", "action"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, name)
    assert not re.search(r"url\(|@import", page.styles)
    assert page.policy.startswith("default-src 'none'")
    assert "http" not in page.policy.replace("http-equiv", "")


def test_the_reports_policy_lets_its_own_scripts_run_and_no_other() -> None:
    page = Page(render_report(verdict_of()))
    running = [text for attributes, text in page.scripts if attributes.get("type") != "application/json"]
    digests = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in running}
    allowed = re.search(r"script-src ([^;]*);", page.policy)
    assert allowed is not None
    assert set(re.findall(r"'sha256-([^']+)'", allowed[1])) == digests
    assert "unsafe" not in allowed[1]


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    ordinary = Page(render_report(verdict_of()))
    verdict = verdict_of(
        dataclasses.replace(signature_of(name=HOSTILE), engine=HOSTILE, note=HOSTILE, details={HOSTILE: HOSTILE}),
        detector=HOSTILE,
        assumptions=(HOSTILE, HOSTILE),
    )
    page = Page(render_report(verdict))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in ordinary.tags]
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert page.text.count(HOSTILE) >= 6
    assert page.data("verdict-data")["classifier"] == HOSTILE
    save_verdict(verdict, tmp_path / "verdict.png")
    save_channels(verdict.signature, tmp_path / "channels.png")


def test_a_name_that_is_no_valid_text_still_gives_a_report(tmp_path: Path) -> None:
    verdict = verdict_of(signature_of(name="model-\udcff.onnx"))
    verdict.report(tmp_path / "report.html")
    save_verdict(verdict, tmp_path / "verdict.png")
    assert "model-?.onnx" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_report_carries_the_verdict_for_machines_and_the_whole_signature() -> None:
    signature = signature_of()
    verdict = verdict_of(signature)
    page = Page(render_report(verdict))
    assert page.data("verdict-data") == json.loads(json.dumps(verdict.to_dict()))
    surface = page.data("surface-data")
    for k, channel in enumerate(signature.values("change")):
        stored = np.frombuffer(base64.b64decode(surface["z"][str(k)]["bdata"]), dtype="<f4")
        np.testing.assert_array_equal(stored.reshape(channel.shape), channel.astype(np.float32))
    assert surface["pixel"][:2] == [0, 0]


def test_the_most_suspicious_class_and_pixel_are_marked() -> None:
    text = render_report(verdict_of(target_class=1, pixel=(2, 5)))
    assert re.findall(r'class="tile suspicious" data-k="(\d+)"', text) == ["1"]
    assert text.count('<span class="ring">') == 2
    assert "--row: 2; --column: 5" in text
