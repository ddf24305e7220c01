"""The documentation site, built as `make docs` does and looked at from the disk in a real browser."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Request

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow

LINKS = """() =>
    [...document.querySelectorAll("a[href], link[href], img[src], script[src]")].map(it => it.href || it.src)
"""
NAMES = """() => [...document.querySelectorAll("[id], a[name]")].map(it => it.id || it.name)"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return folder


def test_every_page_opens_without_an_error_and_every_link_leads_somewhere(site: Path, browser: Browser):
    page = browser.new_page()
    complaints: list[str] = []

    def complain(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"{page.url}: {message.text}")

    def missed(request: Request) -> None:
        # The next page may be asked for while an icon is still on its way: that is no fault, and LINKS checks the file.
        if request.failure != "net::ERR_ABORTED":
            complaints.append(f"{page.url}: {request.url} was not found")

    page.on("console", complain)
    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
    page.on("requestfailed", missed)
    links: dict[Path, list[str]] = {}
    names: dict[Path, set[str]] = {}
    for path in sorted(set(site.rglob("*.html")) - {site / "404.html"}):  # a server's page, with a server's addresses
        page.goto(path.as_uri())
        links[path] = page.evaluate(LINKS)
        names[path] = set(page.evaluate(NAMES))
    page.close()
    assert complaints == []
    assert len(links) > 50
    assert [fault for path in links for fault in broken(path, links[path], names)] == []


def broken(page: Path, links: list[str], names: dict[Path, set[str]]) -> list[str]:
    """The links of a page that lead nowhere, and what it would fetch from elsewhere without being asked."""
    faults = []
    for link in links:
        parts = urlsplit(link)
        if parts.scheme != "file":
            continue
        target = Path(unquote(parts.path))
        named = not parts.fragment or target not in names or unquote(parts.fragment) in names[target]
        if not target.is_file() or not named:
            faults.append(f"{page}: {link}")
    return faults


def test_nothing_is_fetched_from_elsewhere(site: Path, browser: Browser):
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for name in ("index.html", "results/index.html", "api/index.html"):
        page.goto((site / name).as_uri(), wait_until="networkidle")
    page.close()
    assert asked
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def test_the_search_answers_from_the_disk(site: Path, browser: Browser):
    page = browser.new_page()
    page.goto((site / "index.html").as_uri())
    page.locator("input[name=query]").first.press_sequentially("stamping")
    found = page.locator(".md-search-result__item a").first
    found.wait_for(state="attached", timeout=20_000)
    assert ".html" in str(found.get_attribute("href"))
    page.close()
