"""The folders of a source as a tree."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tuner.data.image_formats import image_test
from tuner.data.source import Entries, File
from tuner.errors import DataError

MAX_DEPTH = 64
"""Maximum number of folders within each other. Deeper ones are an attack or a mistake."""


@dataclass
class Folder:
    """One folder of a source, with its files and folders."""

    path: str
    """Relative path; "" is the source itself."""
    files: list[File] = field(default_factory=list)
    folders: dict[str, "Folder"] = field(default_factory=dict)
    images: list[File] = field(default_factory=list)
    """Those of `files` that are named as images. If the source has none, all files that may be images."""
    all_images: int = 0
    """Number of images of this folder and all folders within it."""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def prefix(self) -> str:
        """What the paths of the folder's files begin with."""
        return f"{self.path}/" if self.path else ""

    def walk(self) -> Iterator["Folder"]:
        """Yield this folder and all folders within it, parents first."""
        yield self
        for folder in self.folders.values():
            yield from folder.walk()

    def walk_files(self) -> Iterator[File]:
        """Yield all files of this folder and then those of the folders within it."""
        for folder in self.walk():
            yield from folder.files

    def folders_with_images(self) -> list["Folder"]:
        """Return those of the folders that have images, at any depth."""
        return [folder for folder in self.folders.values() if folder.all_images]


def folder_tree(entries: Entries, source: str) -> Folder:
    """Return the tree of a source. Raises DataError if folders are nested too deeply."""
    tree = Folder("")
    by_path = {"": tree}
    for path in sorted(entries.folders):
        _folder(by_path, path, source)
    is_image = image_test(file.path for file in entries.files)
    for file in entries.files:
        parent = file.path.rpartition("/")[0]
        folder = by_path.get(parent) or _folder(by_path, parent, source)
        folder.files.append(file)
        if is_image(file.path):
            folder.images.append(file)
    _count(tree)
    _sort(by_path.values())
    return tree


def _folder(by_path: dict[str, Folder], path: str, source: str) -> Folder:
    if path.count("/") >= MAX_DEPTH:
        raise DataError(f"{source}: {path[:60]!r}… is {path.count('/')} folders deep, but the maximum is {MAX_DEPTH}.")
    folder = by_path.get(path)
    if folder is None:
        folder = by_path[path] = Folder(path)
        parent, _, name = path.rpartition("/")
        _folder(by_path, parent, source).folders[name] = folder
    return folder


def _count(folder: Folder) -> int:
    folder.all_images = len(folder.images) + sum(map(_count, folder.folders.values()))
    return folder.all_images


def _sort(folders: Iterable[Folder]) -> None:
    for folder in folders:
        folder.folders = dict(sorted(folder.folders.items()))
