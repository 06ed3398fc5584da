"""The manifest: the description of a packed data set. It is written last, so a data set that has one is complete."""

import hashlib
import json
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from tuner import names
from tuner.bucket import Bucket
from tuner.config.formats import Versioned
from tuner.errors import DataError, NewerFormatError, ObjectNotFoundError, UsageError

VERSION = 1
"""Version of the rules that convert files to pixels. It is part of digests, so that other rules give other digests."""


class _ManifestModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Shard(_ManifestModel):
    """One .npy file of images, (images, height, width, 3) uint8."""

    name: str
    """The object's name in the bucket."""
    images: int
    size_bytes: int
    sha256: str


class Split(_ManifestModel):
    """The images of one split, ordered by class and then by the natural order of their file names."""

    counts: tuple[int, ...]
    """Number of images of each class. These numbers determine the labels."""
    shards: tuple[Shard, ...]
    names: tuple[str, ...]
    """`class/file` of each image."""
    sha256: tuple[str, ...]
    """Hex digest of each image's file as it was in the source, not of its pixels."""


class MadeSplit(_ManifestModel):
    """How test images were selected from the training images of a source that had no test images."""

    fraction: float
    seed: int


class Manifest(Versioned):
    """One packed data set."""

    digest: str
    """Name of the data set. It is derived from `source_digest` and the conversion, and so determines every pixel."""
    source_digest: str
    """Hex SHA-256 of the classes and of every image's name and digest. It is the same for an archive and the folder
    unpacked from it."""
    source: str
    """Name of the source from which the data set was packed."""
    decoder: str
    """Names and versions of the libraries that decoded the images."""
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    """(height, width, 3)"""
    resize: tuple[int, int] | None
    convert: bool
    splits: dict[str, Split]
    """"train", "test" and, if the source has validation images, "validation"."""
    made_test: MadeSplit | None = None
    """Set if the source had no test images."""
    turned: int = 0
    """Number of images that were rotated or mirrored as their EXIF orientation says."""
    notes: tuple[str, ...] = ()
    """Sentences about how the source was understood, and what was skipped."""
    warnings: tuple[str, ...] = ()
    """Sentences about what is accepted, but is probably a mistake."""


def source_digest(classes: Sequence[str], images: Mapping[str, tuple[Sequence[str], Sequence[str]]]) -> str:
    """Return the digest of the classes and, for each split, the images' names and hex digests."""
    state = hashlib.sha256(json.dumps([VERSION, list(classes)]).encode())
    for split in sorted(images):
        image_names, sha256 = images[split]
        state.update(json.dumps([split, list(image_names), list(sha256)]).encode())
    return state.hexdigest()


def data_digest(source: str, resize: tuple[int, int] | None, convert: bool, turned: int = 0) -> str:
    """Return the digest of a data set.

    Args:
        source: Digest of the source from which it is packed.
        resize: Height and width to which all images are resized.
        convert: Whether all images are converted to RGB.
        turned: Number of images that are rotated or mirrored by their EXIF orientation. Version 0.1.0 ignored it, so
            the digest of a data set with such images is another one now.
    """
    state = [VERSION, source, resize, convert, *([{"turned": turned}] if turned else [])]
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()


def read_manifest(bucket: Bucket, digest: str) -> Manifest:
    """Return the manifest of a data set.

    Raises DataError if the bucket has no complete data set with this digest, if the manifest is damaged, or if its
    major version is newer than this program's.
    """
    name = names.manifest(digest)
    try:
        text = bucket.read(name)
    except ObjectNotFoundError:
        raise _missing(bucket, digest) from None
    try:
        manifest = Manifest.model_validate_json(text)
    except NewerFormatError as error:
        raise DataError(f"{bucket.url}: {name} {error}") from None
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise _damaged(bucket, name, f"{where} {problem['msg']}".strip()) from None
    images = {split: (part.names, part.sha256) for split, part in manifest.splits.items()}
    source = source_digest(manifest.classes, images)
    expected = data_digest(source, manifest.resize, manifest.convert, manifest.turned)
    if expected != digest or manifest.digest != digest:
        raise _damaged(bucket, name, "its content does not match its digest")
    for split, part in manifest.splits.items():
        counts = {sum(part.counts), sum(shard.images for shard in part.shards), len(part.names), len(part.sha256)}
        if len(counts) > 1 or len(part.counts) != len(manifest.classes):
            raise _damaged(bucket, name, f"the counts of {split} contradict each other")
    return manifest


def find_data_sets(bucket: Bucket) -> list[str]:
    """Return the digests of all complete data sets of a bucket, sorted."""
    digests = (names.parse_manifest(name) for name in bucket.list(names.DATA_PREFIX))
    return sorted(digest for digest in digests if digest is not None)


def find_data_set(bucket: Bucket, digest: str | None) -> str:
    """Return `digest` if it is given, else the digest of the bucket's only data set.

    Raises UsageError if no digest is given and the bucket has no data set or several data sets.
    """
    digests = [digest] if digest else find_data_sets(bucket)
    if len(digests) == 1:
        return digests[0]
    if not digests:
        raise UsageError(f"{bucket.url} has no data set. Add one with `cifake-tune data pack SOURCE BUCKET`.")
    raise UsageError(f"{bucket.url} has {len(digests)} data sets. Set {names.ENV_DATA} to the digest of one of them.")


def check_data_set(bucket: Bucket, digest: str) -> None:
    """Check that the bucket has a complete data set with this digest. Raises DataError."""
    if not bucket.exists(names.manifest(digest)):
        raise _missing(bucket, digest)


def _missing(bucket: Bucket, digest: str) -> DataError:
    return DataError(f"{bucket.url}: has no data set {digest}. Pack it with `cifake-tune data pack`.")


def _damaged(bucket: Bucket, name: str, why: str) -> DataError:
    return DataError(f"{bucket.url}: {name} is damaged ({why}). Delete it, and pack the data again.")
