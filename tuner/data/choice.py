"""Choose the data set of a study: the one that it began with, a packed one, or the source that its settings name."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tuner import names
from tuner.bucket import Bucket
from tuner.config.data_settings import Columns as ColumnSettings
from tuner.config.data_settings import Data
from tuner.config.settings import Study
from tuner.data.holdout import validation_indices
from tuner.data.label_layout import Labels
from tuner.data.label_table import Columns
from tuner.data.manifest import Manifest, find_data_sets, read_manifest
from tuner.data.notes import listed
from tuner.data.open_source import MissingSourceError
from tuner.data.pack import OtherDataError, pack
from tuner.data.packed import SHOWN_DIGITS, check_packing
from tuner.data.source import Progress, ignore_progress
from tuner.data.split_names import VALIDATION
from tuner.data.survey import Splitting
from tuner.errors import BucketError, ConfigError, DataError, UsageError

_DIGEST = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True)
class Choice:
    """A data set, and why it was chosen."""

    manifest: Manifest
    reason: str
    """A sentence; "" if the user named the data set."""


class KeptDataError(UsageError):
    """The study began with another data set than that of its settings."""


def choose_data(
    study: Study,
    bucket: Bucket,
    recorded: str | None,
    progress: Callable[[Progress], None] = ignore_progress,
) -> Choice:
    """Return the data set of a study, which is packed unless the bucket already has it.

    Args:
        study: Settings of the study.
        bucket: Bucket of the study.
        recorded: Digest of the data set with which the study began; None if it has not begun.
        progress: Is called with the progress.

    Raises:
        UsageError: The bucket has several data sets and the settings name none of them.
        KeptDataError: An existing study began with another data set.
        DataError: The source cannot be packed, or a class has too few images to hold some out for validation.
        BucketError: The bucket cannot be read or written.
    """
    choice = _choose(study, bucket, recorded, progress)
    if VALIDATION not in choice.manifest.splits:
        validation_indices(choice.manifest, study.data.validation, study.validation_seed)
    return choice


def keep_data(study: Study, bucket: Bucket, recorded: str, why: str) -> Choice:
    """Return the data set with which a study began, although the settings name another source, and say why."""
    return Choice(
        read_manifest(bucket, recorded),
        f"{why}: the existing study {study.name} keeps its data set {recorded[:SHOWN_DIGITS]}; choose another name for "
        "a new one.",
    )


def require_labels(data: Data) -> None:
    """Raise ConfigError if columns are named, but not the CSV file that has them.

    The settings of a study that has begun are not checked, because it keeps its data set.
    """
    if data.labels is None and data.columns != ColumnSettings():
        raise ConfigError(
            "data.columns (option --columns) names columns of a CSV file, but data.labels (option --labels) names no "
            "file, so the columns would have no effect. Name the file, or remove the columns."
        )


def splitting_of(data: Data) -> Splitting:
    """Return how the settings complete labels and splits."""
    columns = Columns(data.columns.image, data.columns.label, data.columns.split)
    return Splitting(data.test, data.test_seed, None if data.labels is None else Labels(data.labels, columns))


def _choose(study: Study, bucket: Bucket, recorded: str | None, progress: Callable[[Progress], None]) -> Choice:
    data = study.data
    if data.source is None:
        if recorded is not None:
            return Choice(_recorded(bucket, recorded, data, progress), "This study keeps its data set.")
        digests = find_data_sets(bucket)
        if len(digests) > 1:
            raise UsageError(_several(bucket, digests))
        if digests:
            manifest = _packed(bucket, digests[0], data)
            return Choice(
                manifest, f"No --data given: this run uses the only data set of the bucket, which is {manifest.source}."
            )
    elif (digest := _digest_of(data.source, bucket)) is not None:
        if recorded not in (None, digest):
            raise _other(study, recorded, data.source)
        return Choice(_packed(bucket, digest, data) if recorded is None else read_manifest(bucket, digest), "")
    if recorded is None:
        require_labels(data)
    try:
        manifest = pack(
            data.source,
            bucket,
            resize=data.resize,
            convert=data.convert,
            splitting=splitting_of(data),
            expected=recorded,
            progress=progress,
        )
    except OtherDataError:
        raise _other(study, recorded, data.source) from None
    except (MissingSourceError, BucketError) as error:  # of the source, because nothing is written for a recorded one
        if recorded is None or not bucket.exists(names.manifest(recorded)):
            raise
        return keep_data(study, bucket, recorded, _why_unread(data.source, error))
    sample = "No --data given: this run uses the built-in sample of generated images, not CIFAKE."
    return Choice(manifest, sample if data.source is None else "")


def _digest_of(source: str, bucket: Bucket) -> str | None:
    """Return the digest that a source is, or begins; None if it is a path or URL."""
    if not _DIGEST.fullmatch(source) or Path(source).exists():
        return None
    digests = find_data_sets(bucket)
    matches = [digest for digest in digests if digest.startswith(source)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise DataError(f"{bucket.url}: {len(matches)} data sets begin with {source}. Write more digits.")
    has = f"It has {listed([digest[:SHOWN_DIGITS] for digest in digests])}." if digests else "It has none."
    raise DataError(f"{bucket.url}: has no data set {source}, and there is no file or folder of this name. {has}")


def _why_unread(source: str | None, error: Exception) -> str:
    if isinstance(error, MissingSourceError):
        return f"{source} {'is empty' if Path(str(source)).is_dir() else 'does not exist'}"
    return f"{source} cannot be read ({str(error).removesuffix('.')})"


def _packed(bucket: Bucket, digest: str, data: Data) -> Manifest:
    """Return the manifest of a packed data set. Raises UsageError if the settings ask for another packing of it."""
    manifest = read_manifest(bucket, digest)
    check_packing(manifest, data)
    return manifest


def _recorded(bucket: Bucket, digest: str, data: Data, progress: Callable[[Progress], None]) -> Manifest:
    """Return the manifest of a study's data set. The built-in sample is packed again if the bucket has lost it.

    The packing settings are not compared, because they have no effect on a study that has begun.
    """
    try:
        return read_manifest(bucket, digest)
    except DataError as error:
        try:
            return pack(None, bucket, resize=data.resize, convert=data.convert, expected=digest, progress=progress)
        except OtherDataError:
            raise error from None


def _several(bucket: Bucket, digests: list[str]) -> str:
    lines = []
    for digest in digests[:10]:
        manifest = read_manifest(bucket, digest)
        images = sum(sum(split.counts) for split in manifest.splits.values())
        height, width, _ = manifest.image_shape
        lines.append(
            f"{digest[:SHOWN_DIGITS]} ({manifest.source}: {images:,} images of {height}x{width}, "
            f"{len(manifest.classes)} classes)"
        )
    more = f" and {len(digests) - len(lines)} more" if len(digests) > len(lines) else ""
    return (
        f"{bucket.url} has {len(digests)} data sets: {'; '.join(lines)}{more}. Choose one with --data DIGEST "
        f"(data.source, or {names.ENV_DATA} for a chief)."
    )


def _other(study: Study, recorded: str | None, source: str | None) -> KeptDataError:
    assert recorded is not None
    return KeptDataError(
        f"study {study.name!r} was started with the data set {recorded[:SHOWN_DIGITS]}, but {source} is another data "
        "set now. Remove --data (data.source) to continue with the first data set, or choose another `name` to start a "
        "new study."
    )
