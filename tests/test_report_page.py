"""The HTML report as a file and in a browser: size, alt texts, contrast, paper, phone, no request to anywhere."""

import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

import test_exhibit
import test_report
from onepixel.report.html import render_report
from onepixel.report.surface import coarser

MOST_BYTES = 1_500_000

REPORTS = {
    "signature of ten classes": lambda: test_report.verdict_of(test_report.signature_of(10, 28, 28), pixel=(3, 4)),
    "signature of 43 classes": lambda: test_report.verdict_of(test_report.signature_of(43, 32, 32), pixel=(3, 4)),
    "images": test_exhibit.verdict_of,
}


@pytest.fixture(params=REPORTS)
def report(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text(render_report(REPORTS[request.param]()), encoding="utf-8")
    return path


@pytest.mark.parametrize(("classes", "side"), [(10, 28), (64, 32), (12, 224)])
def test_a_report_of_a_signature_stays_small(classes: int, side: int) -> None:
    verdict = test_report.verdict_of(test_report.signature_of(classes, side, side))
    assert len(render_report(verdict).encode()) <= MOST_BYTES


def test_a_report_with_an_exhibit_of_large_images_stays_small() -> None:
    rng = np.random.default_rng(0)
    exhibit = test_exhibit.exhibit_of(3)
    noise = rng.random((3, 3, 400, 400)).astype(np.float32)
    large = test_exhibit.dataclasses.replace(exhibit, before=noise, after=noise)
    assert len(render_report(test_exhibit.verdict_of(exhibit=large)).encode()) <= MOST_BYTES


def test_every_image_has_an_alt_text_and_nothing_is_fetched(report: Path) -> None:
    page = test_report.Page(report.read_text(encoding="utf-8"))
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert images
    assert all((attributes.get("alt") or "").strip() for attributes in images)
    assert not any(tag in ("link", "iframe", "object", "embed") for tag, _ in page.tags)
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, name)
    running = [text for attributes, text in page.scripts if attributes.get("type") != "application/json"]
    assert not re.search(r"https?:|fetch\(|XMLHttpRequest|import\(", " ".join(running))


def luminance(colour: str) -> float:
    """The relative luminance of #rrggbb (WCAG 2.2)."""
    levels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_stands_out_in_both_colour_schemes(scheme: int) -> None:
    styles = test_report.Page(render_report(test_exhibit.verdict_of())).styles
    block = re.findall(r":root \{([^}]*)\}", styles)[scheme]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    pairs = [(text, ground) for text in ("ink", "soft") for ground in ("paper", "page", "clean-wash", "trojaned-wash")]
    pairs += [("clean", "clean-wash"), ("trojaned", "trojaned-wash"), ("clean", "paper"), ("trojaned", "paper")]
    for text, ground in pairs:
        dark, light = sorted((luminance(colours[text]), luminance(colours[ground])))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


def test_a_coarser_surface_keeps_a_lone_peak() -> None:
    z = np.zeros((50, 70))
    z[49, 69], z[10, 20] = 3.0, -2.0
    x, y, heights = coarser(np.arange(70.0), np.arange(50.0), z, 400)
    assert heights.shape == (len(y), len(x))
    assert heights.size <= 400
    assert (heights.max(), heights.min()) == (3.0, -2.0)
    assert (x[0], x[-1], y[0], y[-1]) == (0, 69, 0, 49)


def opened(browser: Browser, report: Path, **options: object) -> tuple[Page, list[str]]:
    """A page with the report, and a list that fills with complaints and requests."""
    page = browser.new_page(**options)
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda asked: asked.url.startswith(("file:", "data:")) or faults.append(asked.url))
    page.goto(report.as_uri(), wait_until="networkidle")
    return page, faults


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_the_report_without_a_complaint_or_a_request(
    report: Path, browser: Browser, scheme: str
) -> None:
    page, faults = opened(browser, report, color_scheme=scheme)
    assert page.locator("h1").is_visible()
    if page.locator("#exhibit").count():
        images = page.locator("#exhibit img")
        assert images.count() == 6
        assert all(image.is_visible() and image.evaluate("it => it.naturalWidth") for image in images.all())
    else:
        surface = page.locator("#surface")
        assert surface.is_visible()
        pictures = [surface.evaluate("it => it.toDataURL()")]
        page.locator("button.tile").first.click()
        pictures.append(surface.evaluate("it => it.toDataURL()"))
        surface.press("ArrowRight")
        pictures.append(surface.evaluate("it => it.toDataURL()"))
        assert len(set(pictures)) == 3
        assert "Class 0" in page.locator("#surface-caption").inner_text()
    page.close()
    assert faults == []


@pytest.mark.slow
def test_a_phone_shows_the_whole_width(report: Path, browser: Browser) -> None:
    page, _ = opened(browser, report, viewport={"width": 360, "height": 740})
    width = page.evaluate("document.documentElement.scrollWidth")
    page.close()
    assert width <= 360


@pytest.mark.slow
def test_the_report_prints_on_one_page(report: Path, browser: Browser) -> None:
    page, _ = opened(browser, report)
    pdf = page.pdf(format="A4", prefer_css_page_size=True)
    page.close()
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1
