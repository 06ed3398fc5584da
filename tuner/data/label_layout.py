"""The layout of a source whose labels are in a CSV file."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from tuner.data.class_names import check_distinct, similar_classes
from tuner.data.image_formats import is_named_as_image
from tuner.data.label_paths import FileIndex, file_index
from tuner.data.label_table import Columns, LabelTable, Row, read_table
from tuner.data.layout import Layout, check_classes, natural_key
from tuner.data.notes import counted, with_example
from tuner.data.source import MAX_FILE_BYTES, Entries, File, Source
from tuner.data.split_names import ALL_SPLITS, TRAIN, split_of
from tuner.errors import DataError


@dataclass(frozen=True)
class Labels:
    """A CSV file of labels, as the user named it."""

    path: str
    """Path in the source, or of a file on this machine."""
    columns: Columns


@dataclass
class _Labelled:
    """The files that have labels."""

    label: dict[str, str] = field(default_factory=dict)
    split: dict[str, str] = field(default_factory=dict)
    file: dict[str, File] = field(default_factory=dict)
    line: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)


def labelled_layout(entries: Entries, source: Source, labels: Labels) -> Layout:
    """Return the layout that a CSV file describes.

    Raises DataError if the file cannot be read, if most of its images are missing, if an image has two labels, and if
    a class is missing in one split.
    """
    data, folder = _read(entries, source, labels.path)
    index = file_index(entries.files, folder)
    name = labels.path.rpartition("/")[2]
    table = read_table(data, name, labels.columns, index)
    found = _labelled(table, name, index)
    notes, warnings = [table.note], []
    if found.missing:
        warnings.append(with_example("row", f"of {name} {{are}} skipped, because the files are missing", found.missing))
        if len(found.missing) * 2 > len(table.rows):
            raise DataError(
                f"{name}: {len(found.missing):,} of {len(table.rows):,} rows name files that are not in {source.name}, "
                f"such as {found.missing[0]}. Write paths relative to the folder of the CSV file."
            )
    if found.unlabelled:
        warnings.append(with_example("row", f"of {name} {{are}} skipped, because the label is empty", found.unlabelled))
    if found.repeated:
        notes.append(with_example("row", f"of {name} {{are}} repeated, and counted once", found.repeated))
    unused = [file.path for file in entries.files if is_named_as_image(file.path) and file.path not in found.label]
    if unused:
        warnings.append(with_example("image", f"without a row in {name} {{are}} not used", unused))
    splits = _splits(found, name, notes, warnings)
    classes = tuple(sorted(set(found.label.values())))
    _check_labels(found, classes, name)
    check_classes(classes, name, "its column of labels")
    check_distinct(classes, name)
    by_split = _by_split(found, splits, classes, name)
    names = {path: f"{label.replace('/', '_')}/{path}" for path, label in found.label.items()}
    return Layout(classes, by_split, names, tuple(notes), (*warnings, *similar_classes(classes)))


def _read(entries: Entries, source: Source, path: str) -> tuple[bytes, str]:
    """Return the CSV file, and its folder within the source."""
    plain = path.replace("\\", "/").removeprefix("./")
    matches = [file for file in entries.files if file.path == plain] or [
        file for file in entries.files if file.path.endswith(f"/{plain}")
    ]
    if len(matches) > 1:
        raise DataError(
            f"{source.name}: data.labels may be {matches[0].path} or {matches[1].path}. Write the whole path in the "
            "source."
        )
    if matches:
        with source.reader() as read:
            return read(matches[0]), matches[0].path.rpartition("/")[0]
    local = Path(path)
    if not local.is_file():
        raise DataError(
            f"{source.name}: data.labels is {path}, but neither the source nor this machine has this file. Write its "
            "path in the source."
        )
    try:
        if local.stat().st_size > MAX_FILE_BYTES:
            raise DataError(f"{path}: has more than {MAX_FILE_BYTES >> 20} MiB.")
        return local.read_bytes(), ""
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Make it readable.") from None


def _labelled(table: LabelTable, name: str, index: FileIndex) -> _Labelled:
    found = _Labelled()
    for row in table.rows:
        try:
            file = index.find(table.rule, row.image)
        except DataError as error:
            raise DataError(f"{name}: line {row.line}: {error}") from None
        if file is None:
            found.missing.append(f"{row.image} (line {row.line})")
        elif not row.label:
            found.unlabelled.append(f"{row.image} (line {row.line})")
        else:
            _add(found, row, file, name)
    return found


def _add(found: _Labelled, row: Row, file: File, name: str) -> None:
    split = split_of(row.split) if row.split else ""
    if split is None:
        raise DataError(f"{name}: line {row.line}: the split {row.split!r} is unknown. Write train, val or test.")
    if file.path in found.label:
        previous = (found.label[file.path], found.split[file.path])
        if previous != (row.label, split):
            other = "" if previous[0] != row.label else ", in another split"
            raise DataError(
                f"{name}: {row.image} is {previous[0]} in line {found.line[file.path]} but {row.label} in line "
                f"{row.line}{other}. Each image must have one label and one split."
            )
        found.repeated.append(f"{row.image} (line {row.line})")
        return
    found.label[file.path], found.split[file.path] = row.label, split
    found.file[file.path], found.line[file.path] = file, row.line


def _splits(found: _Labelled, name: str, notes: list[str], warnings: list[str]) -> dict[str, str]:
    """Return the split of each file: from its row, else from its folder if all have one."""
    if any(found.split.values()):
        without = [f"line {found.line[path]}" for path, split in found.split.items() if not split]
        if without:
            raise DataError(f"{name}: {without[0]} has no split, but other rows have. Write train, val or test.")
        return found.split
    by_folder = {path: _split_of_path(path) for path in found.split}
    named = [split for split in by_folder.values() if split]
    if named and len(named) == len(by_folder):
        notes.append(f"The splits are those of the folders: {', '.join(sorted(set(named)))}.")
        return {path: split for path, split in by_folder.items() if split}
    if named:
        path = next(path for path, split in by_folder.items() if split)
        warnings.append(
            counted(
                len(named),
                "image",
                "in folders that are named as splits {are} used as all others, because not all "
                "images are in such folders",
                path,
            )
        )
    return dict.fromkeys(found.split, TRAIN)


def _split_of_path(path: str) -> str | None:
    return next((split for part in path.split("/")[:-1] if (split := split_of(part))), None)


def _check_labels(found: _Labelled, classes: tuple[str, ...], name: str) -> None:
    if not classes:
        raise DataError(f"{name}: no row has both an image of the source and a label.")
    singles = sum(count == 1 for count in Counter(found.label.values()).values())
    if singles * 2 > len(classes) and len(found.label) > 2:
        raise DataError(
            f"{name}: its column of labels has {len(classes):,} different values for {len(found.label):,} images, most "
            "of them for one image only, so they are probably no classes. Set data.columns.label to the column of the "
            "classes."
        )


def _by_split(
    found: _Labelled, splits: dict[str, str], classes: tuple[str, ...], name: str
) -> dict[str, tuple[tuple[File, ...], ...]]:
    files: dict[tuple[str, str], list[File]] = defaultdict(list)
    for path, split in splits.items():
        files[split, found.label[path]].append(found.file[path])
    present = [split for split in ALL_SPLITS if split in splits.values()]
    if TRAIN not in present:
        raise DataError(f"{name}: no image is in the split train. Write train for the images to train on.")
    for split in present:
        for label in classes:
            if (split, label) not in files:
                raise DataError(
                    f"{name}: class {label} has no image in the split {split}. Add one, or remove the class."
                )
    return {split: tuple(tuple(sorted(files[split, label], key=natural_key)) for label in classes) for split in present}
