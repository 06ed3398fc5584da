"""What a `space.import` that is not written as `module:name` probably means, judging by the user's files."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

_MAX_FILES = 200
_MAX_BYTES = 1 << 20
_SHOWN = 3


def import_advice(text: str, folder: Path) -> str:
    """Return a sentence that names the space in `folder` that is probably meant, or how to write one.

    The files are parsed, but not executed.
    """
    meant = list(dict.fromkeys(_meant(text, folder)))
    if not meant:
        return "Name the module, which is a file without .py, and the function or class in it."
    if meant[0].endswith(":"):
        return f"Write the name of the function or class in this file after {meant[0]}"
    return f"Did you mean {' or '.join(meant[:_SHOWN])}?"


def _meant(text: str, folder: Path) -> Iterator[str]:
    """Yield the spaces that may be meant, as `module:name`; `module:` if a module has nothing that looks like one."""
    path = re.sub(r"\.py(?=$|\W)", "", text.strip()).replace("\\", "/").removeprefix("./")
    words = [word for word in re.split(r"[^\w]+", path) if word]
    module, name = ".".join(words[:-1]), words[-1] if words else ""
    if module and (tree := _parsed(folder, module)) and name in _definitions(tree):
        yield f"{module}:{name}"
    whole = ".".join(words)
    if whole and (tree := _parsed(folder, whole)):
        found = [each for each, node in _definitions(tree).items() if _is_space(node)]
        yield from (f"{whole}:{each}" for each in found or [""])
    if len(words) == 1 and folder.is_dir():
        for file in sorted(folder.glob("*.py"))[:_MAX_FILES]:
            if (tree := _parsed(folder, file.stem)) and name in _definitions(tree):
                yield f"{file.stem}:{name}"


def _parsed(folder: Path, module: str) -> ast.Module | None:
    file = folder.joinpath(*module.split(".")).with_suffix(".py")
    try:
        if not file.is_file() or file.stat().st_size > _MAX_BYTES:
            return None
        return ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None


def _definitions(tree: ast.Module) -> dict[str, ast.FunctionDef | ast.ClassDef]:
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def _is_space(node: ast.FunctionDef | ast.ClassDef) -> bool:
    """Return whether a definition looks like a space: `def build_model(hp)` or `class Space(HyperModel)`."""
    if isinstance(node, ast.ClassDef):
        return any(ast.unparse(base).endswith("HyperModel") for base in node.bases)
    return [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)][:1] == ["hp"]
