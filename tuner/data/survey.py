"""Survey a source: find its images, hash and inspect them, and complete its splits. `check` and `pack` begin so."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tuner.data.decode import SIXTEEN_BITS, ImageHeader, Traits
from tuner.data.folder_layout import find_layout
from tuner.data.holdout import split_off_test
from tuner.data.image_formats import image_test
from tuner.data.label_layout import Labels, labelled_layout
from tuner.data.layout import Layout
from tuner.data.manifest import MadeSplit
from tuner.data.notes import counted, with_example
from tuner.data.processes import FileBatch, FileGroup, Inspected, Workers, add_groups, chunks
from tuner.data.source import File, Progress, Source
from tuner.data.split_names import ALL_SPLITS, TEST, TRAIN, VALIDATION
from tuner.errors import DataError


@dataclass(frozen=True)
class Splitting:
    """How images get their labels and splits, if the folders of a source do not say so."""

    test: float = 0.2
    """Fraction of the images of each class that become test images if the source has none."""
    test_seed: int = 1
    labels: Labels | None = None
    """CSV file of labels; None if the folders are the classes."""


DEFAULT_SPLITTING = Splitting()


@dataclass(frozen=True)
class Survey:
    """What is known of a source's images after all of them were read once."""

    layout: Layout
    """All splits, with images only."""
    sha256: Mapping[str, str]
    """Hex digest of each file by its path; "" if it cannot be read."""
    groups_by_header: Mapping[ImageHeader, FileGroup]
    damaged: Mapping[str, str]
    """The reason for each image that cannot be used, by its path."""
    turned: int
    """Number of images that are rotated or mirrored as their EXIF orientation says."""
    made_test: MadeSplit | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def total(self) -> int:
        """Number of images."""
        return sum(len(self.layout.files(split)) for split in self.layout.splits)


def survey(
    source: Source,
    splitting: Splitting,
    workers: Workers,
    inspect: Callable[[FileBatch], Inspected],
    progress: Callable[[Progress], None],
    step: str,
) -> Survey:
    """Read all images of a source. `inspect` examines them in the worker processes, and `step` names this in progress.

    Raises DataError if the source as a whole cannot be used. Damaged images are in the result.
    """
    workers.start(source.likely_files())
    entries = source.entries()
    labels = splitting.labels
    layout = find_layout(entries, source.name) if labels is None else labelled_layout(entries, source, labels)
    files = tuple(file for split in layout.splits for file in layout.files(split))
    workers.start(len(files), sum(file.size_bytes for file in files))
    sha256: dict[str, str] = {}
    groups: dict[ImageHeader, FileGroup] = {}
    traits: dict[Traits, FileGroup] = {}
    damaged: dict[str, str] = {}
    work = (FileBatch(source, files[part]) for part in chunks(files, bytes_each=1))
    for result in workers.map(inspect, work):
        for digest in result.sha256:
            sha256[files[len(sha256)].path] = digest
        damaged |= result.damaged
        add_groups(groups, result.groups_by_header)
        add_groups(traits, result.groups_by_traits)
        progress(Progress(step, len(sha256), len(files)))
    others = _no_images(damaged, files)
    layout = _without(layout, set(others), source.name)
    for path in others:
        del damaged[path]
    layout, made, notes = _with_test(layout, sha256, splitting)
    notes = (*layout.notes, *notes, *_about(traits, groups))
    if others:
        notes = (*notes, with_example("file", "that {are} no image, in folders of classes, {are} skipped", others))
    warnings = (*entries.warnings, *layout.warnings, *_common(layout, sha256))
    turned = sum(group.count for each, group in traits.items() if each.is_turned)
    return Survey(layout, sha256, groups, damaged, turned, made, notes, warnings)


def _no_images(damaged: Mapping[str, str], files: tuple[File, ...]) -> list[str]:
    """Return those damaged files that are no images rather than damaged ones, by their names."""
    is_image = image_test(file.path for file in files)
    return [path for path in damaged if not is_image(path)]


def _without(layout: Layout, paths: set[str], source: str) -> Layout:
    """Return the layout without some files. Raises DataError if a class has no other files."""
    if not paths:
        return layout
    splits = {
        split: tuple(tuple(file for file in files if file.path not in paths) for files in by_class)
        for split, by_class in layout.splits.items()
    }
    for split, by_class in splits.items():
        for name, files in zip(layout.classes, by_class, strict=True):
            if not files:
                raise DataError(
                    f"{source}: class {name} has no images in {split}, but other files. Add images, or remove its "
                    "folder."
                )
    return replace(layout, splits=splits)


def _with_test(
    layout: Layout, sha256: Mapping[str, str], splitting: Splitting
) -> tuple[Layout, MadeSplit | None, tuple[str, ...]]:
    """Return the layout with test images, how they were selected if the source had none, and a note about it."""
    if TEST in layout.splits:
        return layout, None, ()
    by_class = layout.splits[TRAIN]
    files = layout.files(TRAIN)
    # a file that cannot be read has no digest
    hashes = [sha256[file.path] or f"unread {file.path}" for file in files]
    kept = {sha256[file.path] for file in layout.files(VALIDATION)} if VALIDATION in layout.splits else set()
    counts = [len(each) for each in by_class]
    chosen = set(split_off_test(layout.classes, counts, hashes, splitting.test, splitting.test_seed, kept).tolist())
    train, test, start = [], [], 0
    for each in by_class:
        train.append(tuple(file for index, file in enumerate(each, start) if index not in chosen))
        test.append(tuple(file for index, file in enumerate(each, start) if index in chosen))
        start += len(each)
    splits = dict(layout.splits) | {TRAIN: tuple(train), TEST: tuple(test)}
    ordered = {split: splits[split] for split in ALL_SPLITS if split in splits}
    note = (
        f"The source has no test images: {len(chosen):,} of {len(files):,} images were held out for the test "
        f"(data.test {splitting.test:g}, data.test_seed {splitting.test_seed})."
    )
    return replace(layout, splits=ordered), MadeSplit(fraction=splitting.test, seed=splitting.test_seed), (note,)


def _about(traits: Mapping[Traits, FileGroup], groups: Mapping[ImageHeader, FileGroup]) -> tuple[str, ...]:
    """Return notes about images whose pixels are not those that their files store first."""
    turned = [group for each, group in traits.items() if each.is_turned]
    frames = [group for each, group in traits.items() if each.has_frames]
    cut = [group for each, group in traits.items() if each.is_cut]
    deep = [group for header, group in groups.items() if header.mode in SIXTEEN_BITS]
    texts = (
        (turned, "{are} rotated or mirrored as the EXIF orientation says"),
        (frames, "with several frames or pages {are} used with the first one only"),
        (deep, "of 16 bits {are} scaled to 8 bits if converted: 65,535 becomes 255"),
        (cut, "of 16 bits per channel {are} reduced to 8 bits, without the lower 8 bits of each value"),
    )
    return tuple(
        counted(sum(each.count for each in found), "image", what, found[0].first) for found, what in texts if found
    )


def _common(layout: Layout, sha256: Mapping[str, str]) -> tuple[str, ...]:
    """Return a warning if validation images are also training images. The evaluator reports those of the test."""
    if VALIDATION not in layout.splits:
        return ()
    trained = {sha256[file.path] for file in layout.files(TRAIN)} - {""}
    common = [file.path for file in layout.files(VALIDATION) if sha256[file.path] in trained]
    what = "of the validation split {are} also in the training split, byte for byte"
    return (with_example("image", what, common),) if common else ()
