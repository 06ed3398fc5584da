"""Sentences about what was found in a source, with a count and an example."""

from collections.abc import Sequence

MAX_LISTED = 5


def listed(names: Sequence[str]) -> str:
    """Return the first names, and the number of the others."""
    shown = list(names[:MAX_LISTED])
    if len(names) > MAX_LISTED:
        shown.append(f"{len(names) - MAX_LISTED:,} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def with_example(noun: str, what: str, paths: Sequence[str]) -> str:
    """Return a sentence such as `3 files that are no images are skipped, such as train/cat/notes.txt.`.

    Args:
        noun: What is counted, in the singular, such as `file`.
        what: The rest of the sentence with its verb as `{are}`, such as `that are no images {are} skipped`.
        paths: The files, of which the first is the example.
    """
    return counted(len(paths), noun, what, paths[0])


def counted(count: int, noun: str, what: str, example: str) -> str:
    """Return the sentence of `with_example` for a number of files of which only one is known."""
    if count == 1:
        return f"1 {noun} {what.format(are='is')}: {example}."
    return f"{count:,} {noun}s {what.format(are='are')}, such as {example}."
