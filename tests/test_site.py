"""The documentation site: built without a network, with links that lead somewhere, and read in a real Chromium."""

import http.server
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from markdown_it import MarkdownIt
from playwright.sync_api import Browser, expect

import tuner
from tests.support.browser import Scheme, chromium, open_page
from tests.support.http_server import serving
from tests.support.modules import module_at

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
GROUPS = ["Tutorials", "How-to", "Reference", "Explanation"]
LOADED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("object", "data")}
"""Attributes whose address a browser loads by itself; so does a `link`, unless it only names a relation."""
LOADED_MS = 60_000
"""In which a browser has read the search's index, also on a busy machine."""
RELATIONS = {"canonical", "next", "prev", "alternate", "edit"}


# ---- navigation ---------------------------------------------------------------------------------
class ConfigurationLoader(yaml.SafeLoader):
    """Reads mkdocs.yml, whose tags only MkDocs understands."""


ConfigurationLoader.add_multi_constructor("!", lambda *_: None)
ConfigurationLoader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def pages_of(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    below = entry.values() if isinstance(entry, dict) else entry
    return [page for part in below for page in pages_of(part)]


def test_each_page_is_once_in_the_navigation_in_one_of_four_groups() -> None:
    configuration = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), ConfigurationLoader)
    navigation = configuration["nav"]
    assert [next(iter(entry)) for entry in navigation] == ["Start", *GROUPS]
    hooks = module_at(ROOT / "tools" / "site_hooks.py")
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} | set(hooks.outer_pages().values())
    assert Counter(pages_of(navigation)) == Counter(pages)


# ---- the built files ----------------------------------------------------------------------------
@dataclass
class Content(HTMLParser):
    """What a page of HTML has: elements of its text, anchors, links, and addresses that a browser loads."""

    elements: Counter[str] = field(default_factory=Counter)
    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    in_text: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {key: value or "" for key, value in attrs}
        self.in_text |= tag == "article"
        if self.in_text and "headerlink" not in attributes.get("class", "") and (tag != "a" or "href" in attributes):
            self.elements[tag] += 1
        self.anchors |= {attributes[key] for key in ("id", "name") if key in attributes}
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        self.loaded += [value for key, value in attributes.items() if (tag, key) in LOADED]
        if tag == "link" and not set(attributes.get("rel", "").split()) & RELATIONS:
            self.loaded.append(attributes["href"])

    def handle_endtag(self, tag: str) -> None:
        self.in_text &= tag != "article"


def content(html: str, *, in_text: bool = False) -> Content:
    read = Content(in_text=in_text)
    read.feed(html)
    return read


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, with nothing to say."""
    folder = tmp_path_factory.mktemp("site")
    done = build("tools/build_site.py", str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.fixture(scope="module")
def version(site: Path) -> Path:
    return site / tuner.__version__


def build(*command: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=root, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_page_has_the_same_parts_on_the_site_as_on_a_forge(version: Path) -> None:
    """Two programs read the same Markdown, and differ in what counts as a list, a table or code."""
    forge = MarkdownIt("commonmark").enable("table")
    parts = ("h1", "h2", "h3", "ul", "ol", "li", "table", "tr", "td", "pre", "blockquote", "img", "a", "strong", "em")
    for file in sorted(DOCS.glob("*.md")):
        page = version / ("" if file.stem == "index" else file.stem) / "index.html"
        built = content(page.read_text(encoding="utf-8")).elements
        markdown = re.sub(r"\A---\n.*?\n---\n", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
        expected = content(forge.render(markdown), in_text=True).elements
        assert {part: built[part] for part in parts} == {part: expected[part] for part in parts}, file.name


@pytest.mark.slow
def test_every_link_and_anchor_of_the_built_pages_leads_somewhere(version: Path) -> None:
    pages = {file: content(file.read_text(encoding="utf-8")) for file in version.rglob("*.html")}
    assert len(pages) > 35
    broken = [
        f"{file.relative_to(version)}: {link}"
        for file, page in pages.items()
        if file.name != "404.html"  # served for any address, so its links begin at the root
        for link in page.links
        if not urlsplit(link).scheme and not leads_somewhere(file, link, pages)
    ]
    assert broken == []


def leads_somewhere(file: Path, link: str, pages: dict[Path, Content]) -> bool:
    url = urlsplit(link)
    target = (file.parent / unquote(url.path)).resolve() if url.path else file
    if target.is_dir():
        target /= "index.html"
    known = pages.get(target)
    return target.is_file() and (not url.fragment or (known is not None and unquote(url.fragment) in known.anchors))


@pytest.mark.slow
def test_no_page_loads_anything_from_another_server(version: Path) -> None:
    loaded = [
        f"{file.name}: {address}"
        for file in version.rglob("*.html")
        for address in content(file.read_text(encoding="utf-8")).loaded
        if urlsplit(address).netloc
    ]
    styles = [
        f"{file.name}: {address}"
        for file in version.rglob("*.css")
        for address in re.findall(r"(?:url\(|@import)\s*[\"']?([^)\"']+)", file.read_text(encoding="utf-8"))
        if urlsplit(address).netloc
    ]
    assert loaded + styles == []


@pytest.mark.slow
def test_the_selector_offers_every_version_that_was_built_and_the_newest_is_latest(site: Path, tmp_path: Path) -> None:
    for earlier in ("0.0.9", "0.0.10"):
        (tmp_path / earlier).mkdir()
        (tmp_path / earlier / "index.html").write_text(earlier)
    shutil.copytree(site / tuner.__version__, tmp_path / tuner.__version__)
    module_at(ROOT / "tools" / "build_site.py").add_versions(tmp_path)
    versions = json.loads((tmp_path / "versions.json").read_text())
    assert [entry["version"] for entry in versions] == [tuner.__version__, "0.0.10", "0.0.9"]
    assert [entry["aliases"] for entry in versions] == [["latest"], [], []]
    newest = (tmp_path / tuner.__version__ / "index.html").read_bytes()
    assert (tmp_path / "latest" / "index.html").read_bytes() == newest
    assert "latest/" in content((tmp_path / "index.html").read_text()).links


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "text", "complaint"),
    [
        ("docs/study.md", "[a page](no-such-page.md)", "no-such-page.md"),
        ("docs/study.md", "[a heading](settings.md#no-such-heading)", "#no-such-heading"),
        ("docs/study.md", "[a file](../charts/no-such-file.yaml)", "charts/no-such-file.yaml"),
        ("ARCHITECTURE.md", "[a page](docs/no-such-page.md)", "no-such-page.md"),
        ("docs/not-in-the-navigation.md", "# A page", "not-in-the-navigation.md"),
    ],
)
def test_a_page_that_is_wrong_ends_the_build(page: str, text: str, complaint: str, tmp_path: Path) -> None:
    for name in ("docs", "tools", "charts", "bench/results"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for file in [ROOT / "mkdocs.yml", *ROOT.glob("*.md")]:
        shutil.copy(file, tmp_path)
    with (tmp_path / page).open("a", encoding="utf-8") as opened:
        opened.write(f"\n{text}\n")
    done = build(str(tmp_path / "tools" / "build_site.py"), str(tmp_path / "site"), root=tmp_path)
    assert done.returncode != 0
    assert complaint in done.stderr


# ---- in a browser -------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Serve the folder with all versions."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Print nothing."""

    handler = partial(Handler, directory=str(site))
    with serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("path", ["", "settings/", "tutorial-sample/", "project/chart-values/"])
def test_a_page_can_be_read(path: str, width: int, scheme: Scheme, browser: Browser, address: str) -> None:
    with open_page(browser, f"{address}/latest/{path}", width, scheme) as view:
        expect(view.page.get_by_role("button", name="Select version")).to_have_text(tuner.__version__)
        name = path.strip("/").replace("/", "-") or "start"
        view.screenshot(f"site-{name}-{width}-{scheme}")
        assert view.complaints == []
        assert view.overflow_px() == 0
        assert [request for request in view.requests if not request.startswith(address)] == []


@pytest.mark.slow
def test_the_search_finds_a_page_by_a_word_of_its_text(browser: Browser, address: str) -> None:
    with open_page(browser, f"{address}/", 1280) as view:  # which leads to the newest version
        view.page.wait_for_url("**/latest/")
        box = view.page.get_by_role("textbox", name="Search")
        box.click()
        expect(view.page.get_by_text("Type to start searching")).to_be_visible(timeout=LOADED_MS)  # the index is there
        box.press_sequentially("preempted")  # the theme waits for keys
        result = view.page.locator(".md-search-result__link[href*='/glossary/']").first
        expect(result).to_be_visible(timeout=LOADED_MS)
        view.screenshot("site-search")
        result.click()
        view.page.wait_for_url("**/latest/glossary/**")
        assert view.complaints == []
        assert [request for request in view.requests if not request.startswith(address)] == []


@pytest.mark.slow
def test_a_copied_command_has_no_prompt(browser: Browser, address: str) -> None:
    with open_page(browser, f"{address}/latest/tutorial-sample/", 1280) as view:
        view.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        block = view.page.locator(".highlight", has_text="make run").first
        block.hover()
        block.get_by_role("button").click()
        assert view.page.evaluate("navigator.clipboard.readText()").strip() == "make run"
