"""What MkDocs does besides: pages that are made from the code, and pages that lie outside docs/.

Links in Markdown are relative to the file, as a code-hosting site reads them. A link that leaves docs/ is mended here;
where it leads to a file that is not part of the site, its text stays and the link goes.
"""

import ast
import logging
import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "onepixel"
OUTSIDE = ("CONTRIBUTING.md", "CHANGELOG.md")
"""Pages beside docs/; everything below results/ is part of the site, too."""
EXPERIMENTS = "<!-- the list of experiments -->"
"""What stands for a table that is made from the code."""
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s:#]+)(#[^)\s]*)?\)")
log = logging.getLogger("mkdocs.onepixel")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add pages from outside docs/, the command reference, and the API reference; then spell out the navigation."""
    for path in [*(ROOT / name for name in OUTSIDE), *sorted((ROOT / "results").rglob("*"))]:
        if path.is_file():
            files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    for name, text in [*command_pages(), *api_pages()]:
        files.append(File.generated(config, name, content=text))
    pages = sorted(file.src_uri for file in files.documentation_pages())
    named = {entry for entry in entries(config.nav) if "*" not in entry}
    config.nav = spelled_out(config.nav, [page for page in pages if page not in named])
    return files


def entries(nav: Any) -> list[str]:
    """Every page or pattern of a navigation."""
    if isinstance(nav, str):
        return [nav]
    inner = nav.values() if isinstance(nav, dict) else nav
    return [entry for part in inner for entry in entries(part)]


def spelled_out(nav: Any, pages: list[str]) -> Any:
    """The navigation with every pattern replaced by the pages that it matches; `*` stays within a folder."""
    if isinstance(nav, dict):
        return {
            title: spelled_out([part] if isinstance(part, str) and "*" in part else part, pages)
            for title, part in nav.items()
        }
    if isinstance(nav, list):
        return [
            item
            for part in nav
            for item in (matching(part, pages) if isinstance(part, str) else [spelled_out(part, pages)])
        ]
    return nav


def matching(pattern: str, pages: list[str]) -> list[str]:
    """The pages that a pattern stands for."""
    if "*" not in pattern:
        return [pattern]
    deep = "**" in pattern
    return [page for page in pages if fnmatch(page, pattern) and (deep or page.count("/") == pattern.count("/"))]


def command_pages() -> list[tuple[str, str]]:
    """One page for each command, written by typer from the commands themselves."""
    text = subprocess.run(
        [sys.executable, "-m", "typer", "onepixel.cli", "utils", "docs", "--name", "onepixel"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "TERM": "dumb"},
    ).stdout
    first, *others = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    pages = [("commands/index.md", first)]
    for part in others:
        name = re.match(r"## `onepixel (\S+)`", part)
        assert name is not None
        pages.append((f"commands/{name[1]}.md", re.sub(r"^#(#+ )", r"\1", part, flags=re.MULTILINE)))
    return pages


def experiments_table() -> str:
    """The list of experiments, made from their declarations."""
    return subprocess.run(
        [sys.executable, "-c", "from onepixel.experiments.registry import as_markdown; print(as_markdown(), end='')"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    ).stdout


def api_pages() -> list[tuple[str, str]]:
    """One page for the public names, and one for each package that lists its own."""
    pages = [
        ("api/index.md", "# The public names\n\n" + "".join(f"::: onepixel.{name}\n\n" for name in public(PACKAGE)))
    ]
    for folder in sorted(path.parent for path in PACKAGE.glob("*/__init__.py")):
        if names := public(folder):
            members = "".join(f"        - {name}\n" for name in names)
            pages.append(
                (
                    f"api/{folder.name}.md",
                    f"# onepixel.{folder.name}\n\n::: onepixel.{folder.name}\n    options:\n"
                    f"      show_root_heading: false\n      show_root_toc_entry: false\n      members:\n{members}",
                )
            )
    return pages


def public(folder: Path) -> list[str]:
    """The names in a package's `__all__`, without importing it."""
    for node in ast.parse((folder / "__init__.py").read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return [str(name) for name in ast.literal_eval(node.value)]
    return []


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in the list of experiments, and mend links that leave docs/."""
    if EXPERIMENTS in markdown:
        markdown = markdown.replace(EXPERIMENTS, experiments_table())
    source = page.file.abs_src_path
    if source is None:
        return markdown
    folder = Path(source).parent

    def mended(link: re.Match[str]) -> str:
        image, text, target, anchor = link.groups()
        path = Path(os.path.normpath(folder / target))
        if not path.exists():
            return link[0]  # MkDocs complains
        if path.is_dir():
            path = next((path / name for name in ("README.md", "index.md") if (path / name).exists()), path)
        docs = Path(config.docs_dir)
        inside = path.relative_to(docs if path.is_relative_to(docs) else ROOT).as_posix()
        if files.get_file_from_path(inside) is None:
            return text
        return f"{image}[{text}]({os.path.relpath(inside, Path(page.file.src_uri).parent)}{anchor or ''})"

    return LINK.sub(mended, markdown)
