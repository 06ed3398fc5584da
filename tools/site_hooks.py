"""Hooks of MkDocs: pages that lie outside docs/, and links between pages as they lie in the repository.

mkdocs.yml names this file. A link works on the site as it does on a forge: between pages, it leads to the page; to
another file of the repository, to a copy of the file under `files/`.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PROJECT = "project"
"""Folder of the site for the pages that lie outside docs/."""
LINK = re.compile(r"(?P<start>\]\()(?P<path>[^)\s#:]+)(?P<anchor>#[^)\s]*)?(?=\))")
CODE = re.compile(r"^ *```.*?^ *```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)


def outer_pages() -> dict[str, str]:
    """Return the paths on the site of the pages outside docs/, by their paths in the repository."""
    top = {path.name: f"{PROJECT}/{path.name.lower()}" for path in ROOT.glob("*.md") if path.name != "README.md"}
    return top | {"charts/README.md": f"{PROJECT}/chart-values.md"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside docs/ to the site."""
    for source, target in outer_pages().items():
        files.append(File.generated(config, target, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return a page whose links lead to where their targets are on the site."""
    sources = {target: source for source, target in outer_pages().items()}
    source = sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def moved(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match["path"]))
        path = posixpath.relpath(_on_site(target, source, config, files), posixpath.dirname(page.file.src_uri) or ".")
        return match["start"] + path + (match["anchor"] or "")

    parts, end = [], 0
    for code in CODE.finditer(markdown):  # in code, nothing is a link
        parts += [LINK.sub(moved, markdown[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, LINK.sub(moved, markdown[end:])])


def _on_site(target: str, source: str, config: MkDocsConfig, files: Files) -> str:
    """Return the path on the site of a file of the repository, which is added to the site if it is not on it."""
    if target == "README.md":
        return "index.md"
    if target in outer_pages():
        return outer_pages()[target]
    if target.startswith("docs/"):
        return target.removeprefix("docs/")  # MkDocs reports it if it does not exist
    if not (ROOT / target).is_file():
        raise PluginError(f"{source} links to {target}, which is not a file of the repository.")
    copy = f"files/{target}"
    if files.get_file_from_path(copy) is None:
        files.append(File.generated(config, copy, abs_src_path=str(ROOT / target)))
    return copy
