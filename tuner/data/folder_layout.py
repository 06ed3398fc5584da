"""Find the layout of a source whose folders are its classes, within folders of its splits if it has them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from tuner.data.class_names import almost_same, check_distinct, similar_classes
from tuner.data.folder_tree import Folder, folder_tree
from tuner.data.image_formats import is_named_as_image, may_be_image
from tuner.data.layout import Layout, check_classes, natural_key
from tuner.data.notes import listed, with_example
from tuner.data.source import Entries, File
from tuner.data.split_names import ALL_SPLITS, SPLITS, TRAIN, split_of
from tuner.errors import DataError

_TABLES = (".csv", ".tsv")


@dataclass
class _Findings:
    """What was found beside the images, as it is reported."""

    nested: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    """Beginnings of the paths of images that a warning already covers."""


def find_layout(entries: Entries, source: str) -> Layout:
    """Return the layout of a source, whose folders may be at any depth.

    Raises DataError if several folders could be the data set, if a class is empty or is missing in one split, if two
    classes look the same, and if images are beside the class folders.
    """
    tree, labels = folder_tree(entries, source), _labels_advice(entries)
    found = _Findings()
    root = _root(tree, source)
    bases = {TRAIN: _flat_root(tree, source, labels)} if root is None else _split_folders(root, found, source)
    by_split = {split: _classes(folder, found, source) for split, folder in bases.items()}
    if root is None:
        place = f"in {bases[TRAIN].prefix}" if bases[TRAIN].path else "at the top of the source"
        found.notes.append(f"The folders of the classes are {place}, without folders of splits.")
    elif tuple(folder.name for folder in bases.values()) != SPLITS:
        used = listed([f"{folder.prefix} ({split})" for split, folder in bases.items()])
        found.notes.append(f"The folders of the splits are {used}.")
    _check_same_classes(by_split, bases, source)
    classes = tuple(sorted(by_split[TRAIN]))
    check_classes(classes, source, bases[TRAIN].path or "the source", f", {labels}")
    check_distinct(classes, source)
    names = {
        file.path: file.path[len(bases[split].prefix) :]
        for split, by_class in by_split.items()
        for files in by_class.values()
        for file in files
    }
    _report(found, entries, names)
    splits = {
        split: tuple(tuple(sorted(by_split[split][name], key=natural_key)) for name in classes) for split in bases
    }
    return Layout(classes, splits, names, tuple(found.notes), (*found.warnings, *similar_classes(classes)))


def _labels_advice(entries: Entries) -> str:
    """Return how to take the labels from a CSV file: which one, if the source has files that may be it."""
    tables = sorted(file.path for file in entries.files if file.path.lower().endswith(_TABLES))
    if not tables:
        return "or set data.labels (option --labels) to a CSV file that has the label of each image"
    if len(tables) == 1:
        return f"or use --labels {tables[0]} (setting data.labels) if this file has the label of each image"
    return f"or use --labels (setting data.labels) with the file that has the label of each image: {listed(tables)}"


def _report(found: _Findings, entries: Entries, names: Mapping[str, str]) -> None:
    if found.nested:
        found.notes.append(with_example("image", "in folders within classes {are} included", found.nested))
    if found.skipped:
        found.notes.append(with_example("file", "beside the class folders {are} skipped", found.skipped))
    unused = [
        file.path
        for file in entries.files
        if file.path not in names and is_named_as_image(file.path) and not file.path.startswith(tuple(found.unlabelled))
    ]
    if unused:
        found.warnings.append(with_example("image", "outside the folders of the classes {are} not used", unused))


def _root(tree: Folder, source: str) -> Folder | None:
    """Return the folder that has the folders of the splits; None if the source has no such folders."""
    having = [folder for folder in tree.walk() if any(map(_is_split, folder.folders.values()))]
    complete = [folder for folder in having if folder.folders.keys() >= set(SPLITS)]
    training = complete or _outermost([folder for folder in having if _named(folder, TRAIN)])
    if len(training) == 1:
        return training[0]
    if training:
        places = ", ".join(repr(folder.path or ".") for folder in training[:5])
        both = "train/ and test/" if complete else "a folder of training images"
        raise DataError(
            f"{source}: {len(training)} folders contain {both} ({places}). Pass a source with only one of them."
        )
    if having:
        name = next(name for name, inner in having[0].folders.items() if _is_split(inner))
        raise DataError(
            f"{source}: {having[0].path or 'the source'} has {name}/ but no train/. Add train/ with a folder for each "
            "class."
        )
    return None


def _outermost(folders: list[Folder]) -> list[Folder]:
    """Return the folders that are not within another one's folders of splits, as those of `train/train/CLASS/` are."""
    return [
        folder
        for folder in folders
        if not any(
            folder.prefix.startswith(inner.prefix)
            for other in folders
            for inner in other.folders.values()
            if _is_split(inner)
        )
    ]


def _is_split(folder: Folder) -> bool:
    """Return whether a folder is named as a split and has folders of classes.

    A folder of images named `train` may also be a class, of pictures of trains.
    """
    return bool(folder.folders) and split_of(folder.name) is not None


def _named(folder: Folder, split: str) -> list[str]:
    names = [name for name, inner in folder.folders.items() if split_of(name) == split and _is_split(inner)]
    return [split] if split in names else names


def _split_folders(root: Folder, found: _Findings, source: str) -> dict[str, Folder]:
    """Return the folder of each split that the source has. Raises DataError if another folder could be a split."""
    bases: dict[str, Folder] = {}
    others = []
    for split in ALL_SPLITS:
        names = [name for name in root.folders if split_of(name) == split]
        if not names:
            continue
        if split not in names and len(names) > 1:
            raise DataError(
                f"{source}: {listed([root.folders[name].prefix for name in names])} are all folders of {split} images. "
                f"Name one of them {split}, and move all others elsewhere."
            )
        name = split if split in names else names[0]
        others += [root.folders[other] for other in names if other != name]
        folder = root.folders[name]
        if split != TRAIN and folder.images and not folder.folders_with_images():
            found.warnings.append(
                f"{folder.prefix} has {len(folder.images):,} images without folders of classes, so without labels. "
                "They are not used."
            )
            found.unlabelled.append(folder.prefix)
        else:
            bases[split] = _unwrapped(folder)
    classes = set(bases[TRAIN].folders)
    others += [each for name, each in root.folders.items() if split_of(name) is None and classes & set(each.folders)]
    for folder in others:
        if folder.all_images:
            raise DataError(
                f"{source}: {folder.prefix} has {folder.all_images:,} images, and looks like another split beside "
                f"{bases[TRAIN].prefix}. Rename the split folders to train, val and test, and move others elsewhere."
            )
    return bases


def _unwrapped(folder: Folder) -> Folder:
    """Return the inner folder of `train/train/CLASS/`, as some archives have it."""
    while not folder.files and list(folder.folders) == [folder.name] and folder.folders[folder.name].folders:
        folder = folder.folders[folder.name]
    return folder


def _flat_root(tree: Folder, source: str, labels: str) -> Folder:
    """Return the folder that has the class folders of a source without folders of splits."""
    folder = tree
    inner = folder.folders_with_images()
    while not folder.images and len(inner) == 1 and inner[0].folders_with_images():
        folder = inner[0]
        inner = folder.folders_with_images()
    if not folder.all_images:
        raise DataError(
            f"{source}: no folder of the source contains train/ and test/, or images in folders of classes. Create a "
            "folder of images for each class."
        )
    if not inner:
        raise DataError(
            f"{source}: {len(folder.images):,} images are in {folder.path or 'the source'} directly, without folders "
            f"of classes. Create a folder of images for each class, in train/ and test/ or without them, {labels}."
        )
    places = listed([each.prefix for each in inner])
    if len({split_of(each.name) for each in inner} - {None}) > 1:
        raise DataError(
            f"{source}: {places} have images directly, without folders of classes. Create a folder of images for each "
            f"class in them, {labels}."
        )
    counts = Counter(name for each in inner for name, below in each.folders.items() if below.all_images)
    common = [name for name, count in counts.items() if count > 1]
    if len(common) > 1:
        raise DataError(
            f"{source}: {places} have the same folders ({listed(common)}), so they look like splits rather than "
            "classes. Name them train, val and test, or pass only one of them."
        )
    return folder


def _classes(base: Folder, found: _Findings, source: str) -> dict[str, list[File]]:
    """Return the files of each class of a split. Raises DataError if images are beside the class folders."""
    if base.images:
        raise DataError(
            f"{base.images[0].path}: is beside the class folders of {base.path or source}/. Move the file elsewhere."
        )
    found.skipped += [file.path for file in base.files]
    classes: dict[str, list[File]] = {}
    for name, folder in base.folders.items():
        files = list(folder.walk_files())
        if not files:
            raise DataError(f"{folder.path}: the class is empty. Add images, or remove its folder from all splits.")
        if not any(may_be_image(file.path) for file in files):
            found.skipped += [file.path for file in files]
            continue
        classes[name] = files
        found.nested += [file.path for file in files[len(folder.files) :] if may_be_image(file.path)]
    if not classes:
        raise DataError(f"{base.path or source}: has no class folders. Add a folder of images for each class.")
    return classes


def _check_same_classes(
    by_split: Mapping[str, Mapping[str, list[File]]], bases: Mapping[str, Folder], source: str
) -> None:
    """Raise DataError if a class is missing in one split."""
    for split in by_split:
        for here, there in ((TRAIN, split), (split, TRAIN)):
            lacking = sorted(set(by_split[there]) - set(by_split[here]))
            if lacking:
                raise DataError(
                    f"{source}: class {lacking[0]} is in {bases[there].path} but not in {bases[here].path}"
                    f"{almost_same(lacking[0], by_split[here])}"
                )
