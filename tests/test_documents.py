"""The documents: every link leads somewhere, every page is in the index, and the map of the code is right."""

import re
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
ARCHITECTURE = ROOT / "ARCHITECTURE.md"
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def prose(document: Path) -> str:
    """Return a document without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def links(document: Path) -> list[str]:
    """Return where its links, and its pictures, lead."""
    text = re.sub(r"`[^`\n]*`", "", prose(document))
    return re.findall(r"\]\(([^)\s]*)\)", text) + re.findall(r'<img src="([^"]*)"', text)


def anchors(document: Path) -> set[str]:
    """Return what may come after `#` in a link to it, as GitHub makes it of headings."""
    slugs: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *$", prose(document), re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        copies = sum(re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", other) is not None for other in slugs)
        slugs.add(f"{anchor}-{copies}" if copies else anchor)
    return slugs


def wrong(document: Path, link: str) -> str | None:
    """Return what is wrong with a link; None if nothing is."""
    if "://" in link:
        url = urlsplit(link)
        well_formed = url.scheme == "https" and re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", url.netloc)
        return None if well_formed else "is not a well-formed https address"
    path, _, anchor = link.partition("#")
    target = (document.parent / path).resolve() if path else document
    if not target.is_relative_to(ROOT) or not target.exists():
        return "does not exist"
    if anchor and (target.suffix != ".md" or anchor not in anchors(target)):
        return "has no such heading"
    return None


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(document: Path) -> None:
    assert {link: why for link in links(document) if (why := wrong(document, link))} == {}


@pytest.mark.parametrize(
    ("link", "why"),
    [
        ("docs/no-such-page.md", "does not exist"),
        ("../elsewhere.md", "does not exist"),
        ("docs/kubernetes.md#no-such-heading", "has no such heading"),
        ("#no-such-heading", "has no such heading"),
        ("LICENSE#no-heading", "has no such heading"),
        ("http://example.org/", "is not a well-formed https address"),
        ("https:///path", "is not a well-formed https address"),
        ("docs/kubernetes.md#on-kind", None),
        ("#install", None),
        ("https://example.org/path#anchor", None),
    ],
)
def test_a_link_that_leads_nowhere_is_found(link: str, why: str | None) -> None:
    assert wrong(README, link) == why


def test_links_are_found() -> None:
    assert len(links(README)) > 30
    assert "docs/images/live-page.png" in links(README)


def test_the_index_lists_every_page_once_and_the_glossary_first() -> None:
    text = README.read_text(encoding="utf-8")
    table = text[text.index("## Documentation") :]
    listed = re.findall(r"^\| \[[^]]+\]\((docs/[^)]+)\) \|", table, re.MULTILINE)
    assert listed[0] == "docs/glossary.md"
    pages = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*.md"))]
    assert sorted(listed) == [page for page in pages if page != "docs/index.md"], "which is the start of the site"


def test_the_accuracies_in_the_readme_are_published_results() -> None:
    results = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    reached = re.findall(r"(\d\d\.\d\d %) in (\d+) minutes", README.read_text(encoding="utf-8"))
    published = re.findall(r"^\| \[.*?\*\*(\d\d\.\d\d %)\*\*.*\| (\d+) min (\d+) s, ", results, re.MULTILINE)
    rounded = {(accuracy, str(round(int(minutes) + int(seconds) / 60))) for accuracy, minutes, seconds in published}
    assert len(reached) == 2
    assert set(reached) <= rounded


def test_the_map_shows_the_layers_that_are_enforced() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    rows = re.findall(r"^\| \d \| (.*?) \|", ARCHITECTURE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [" | ".join(re.findall(r"`(\w+)`", row)) for row in rows] == layers


def test_the_paths_in_the_documents_for_maintainers_exist() -> None:
    places = "tuner|k8s|charts|docker|tests|bench|docs|tools|requirements"
    for document in (ARCHITECTURE, ROOT / "CONTRIBUTING.md"):
        paths = re.findall(rf"`((?:{places})/[\w./-]*)`", document.read_text(encoding="utf-8"))
        assert paths
        assert [path for path in paths if path not in MADE and not (ROOT / path).exists()] == [], document.name


def claims(page: str) -> list[str]:
    """Return the tests that a page names."""
    return re.findall(r"`((?:charts/)?tests/[\w/]+\.(?:py::\w+|yaml: [^`]+))`", page)


def has_test(claim: str) -> bool:
    """Return whether a test with this name exists."""
    file, _, name = claim.partition("::" if "::" in claim else ": ")
    if not (ROOT / file).exists():
        return False
    text = (ROOT / file).read_text(encoding="utf-8")
    begin = rf"^(?:async )?def {re.escape(name)}\(" if file.endswith(".py") else rf"^  - it: {re.escape(name)}$"
    return re.search(begin, text, re.MULTILINE) is not None


def test_each_claim_of_the_threat_model_names_a_test_that_exists() -> None:
    page = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    named = claims(page)
    assert len(named) > 40
    assert [claim for claim in named if not has_test(claim)] == []
    rows = re.findall(r"^\| .*\|$", page[: page.index("## What is not protected")], re.MULTILINE)
    of_claims = [row for row in rows if not re.match(r"\| (-|asset|who|claim|place)", row)]
    with_tests = page[page.index("## Who can reach what") : page.index("## What is not protected")]
    assert [row[:60] for row in of_claims if row in with_tests and not claims(row)] == []


@pytest.mark.parametrize(
    ("claim", "is_known"),
    [
        ("tests/test_documents.py::test_links_are_found", True),
        ("tests/test_documents.py::test_links", False),
        ("tests/test_no_such_file.py::test_links_are_found", False),
        ("charts/tests/page_test.yaml: an empty pageFrom allows no peer to read the page", True),
        ("charts/tests/page_test.yaml: an empty pageFrom", False),
    ],
)
def test_a_claim_without_a_test_is_found(claim: str, is_known: bool) -> None:
    assert has_test(claim) is is_known


MADE = {"tests/artifacts/"}
"""Folders that git does not have."""


def test_every_top_level_folder_is_on_the_map() -> None:
    rows = re.findall(r"^\| `(\w+)/` \|", ARCHITECTURE.read_text(encoding="utf-8"), re.MULTILINE)
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))}
    generated = {"dist", "build", "bucket", "cifake-tune-bucket"}
    assert set(rows) == folders - generated


def test_each_row_of_the_comparison_names_a_test_and_each_test_has_a_row() -> None:
    page = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
    rows = re.findall(r"\| `(test_\w+\.py)`: (.*?) … \|$", page, re.MULTILINE)
    tests = [
        (file.name, name)
        for file in sorted((ROOT / "tests" / "comparison").glob("test_*.py"))
        for name in re.findall(r"^def test_(\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    named = [
        [name for other, name in tests if other == file and name.startswith(words.replace(" ", "_"))]
        for file, words in rows
    ]
    assert [len(matches) for matches in named] == [1] * len(tests)
    assert sorted(matches[0] for matches in named) == sorted(name for _, name in tests)
