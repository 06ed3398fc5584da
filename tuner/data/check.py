"""Check a source: count its images, and find corrupt files and exact duplicates."""

from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import combinations

from pydantic import BaseModel, ConfigDict

from tuner.data.open_source import open_source
from tuner.data.processes import Workers, inspect_whole
from tuner.data.shape import advice
from tuner.data.source import Progress, ignore_progress
from tuner.data.survey import DEFAULT_SPLITTING, Splitting, survey


class _ReportModel(BaseModel):
    model_config = ConfigDict(frozen=True)


class Corrupt(_ReportModel):
    """A file that cannot be used."""

    path: str
    reason: str


class ImageKind(_ReportModel):
    """Images of one size and mode."""

    height: int
    width: int
    mode: str
    images: int
    first: str


class Duplicates(_ReportModel):
    """Number of pairs of byte-identical files between two folders, or within one folder, which is then named twice."""

    folders: tuple[str, str]
    """Both folders, written as `split/class`."""
    pairs: int


class Report(_ReportModel):
    """The result of `check`."""

    source: str
    classes: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    """Number of files by split and class, including corrupt files."""
    kinds: tuple[ImageKind, ...]
    """Sizes and modes, the most frequent one first. If there are several, packing needs --resize or --convert."""
    corrupt: tuple[Corrupt, ...]
    duplicates: tuple[Duplicates, ...]
    """Numbers of duplicates, only of folders that contain duplicates."""
    groups: tuple[tuple[str, ...], ...]
    """Paths of identical files, one tuple per content."""
    advice: str = ""
    """Which options packing needs; "" if it needs none."""
    notes: tuple[str, ...] = ()
    """Sentences about how the source was understood, and what was skipped."""
    warnings: tuple[str, ...] = ()
    """Sentences about what is accepted, but is probably a mistake."""

    def pairs_within(self, folder: str) -> int:
        """Return the number of pairs of identical files within `folder`, written as `split/class`."""
        return sum(entry.pairs for entry in self.duplicates if entry.folders == (folder, folder))

    def pairs_across(self) -> int:
        """Return the number of pairs of identical files with one in train and one in test."""
        return sum(
            entry.pairs
            for entry in self.duplicates
            if entry.folders[0].partition("/")[0] != entry.folders[1].partition("/")[0]
        )


def check(
    source: str | None,
    *,
    splitting: Splitting = DEFAULT_SPLITTING,
    progress: Callable[[Progress], None] = ignore_progress,
) -> Report:
    """Read and decode every image of a source. Raises DataError if the source as a whole is unusable."""
    with open_source(source, progress) as opened, Workers() as workers:
        found = survey(opened, splitting, workers, inspect_whole, progress, "checking")
        name = opened.name
    layout = found.layout
    equal: dict[str, list[str]] = defaultdict(list)
    for split in layout.splits:
        for file in layout.files(split):
            if digest := found.sha256[file.path]:
                equal[digest].append(f"{split}/{layout.image_name(file)}")
    groups = tuple(tuple(paths) for paths in equal.values() if len(paths) > 1)
    return Report(
        source=name,
        classes=layout.classes,
        counts={
            split: {name: len(files) for name, files in zip(layout.classes, by_class, strict=True)}
            for split, by_class in layout.splits.items()
        },
        kinds=tuple(
            ImageKind(height=header.height, width=header.width, mode=header.mode, images=group.count, first=group.first)
            for header, group in sorted(found.groups_by_header.items(), key=lambda item: -item[1].count)
        ),
        corrupt=tuple(Corrupt(path=path, reason=reason) for path, reason in found.damaged.items()),
        duplicates=_count_pairs(groups),
        groups=groups,
        advice=advice(found.groups_by_header),
        notes=found.notes,
        warnings=found.warnings,
    )


def _count_pairs(groups: tuple[tuple[str, ...], ...]) -> tuple[Duplicates, ...]:
    """Count the pairs from the number of copies per folder, because n copies have n (n - 1) / 2 pairs."""
    pairs: Counter[tuple[str, str]] = Counter()
    for paths in groups:
        copies = Counter("/".join(path.split("/", 2)[:2]) for path in paths)  # in the order of the paths
        for folder, count in copies.items():
            pairs[folder, folder] += count * (count - 1) // 2
        for (first, count), (second, other) in combinations(copies.items(), 2):
            pairs[first, second] += count * other
    return tuple(Duplicates(folders=folders, pairs=count) for folders, count in sorted(pairs.items()) if count)
