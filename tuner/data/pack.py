"""Pack a source: write its images as shards with a manifest to a folder of the bucket that is named by their content.

The files are read twice. The first pass computes their hashes, which name the data set, and reads their headers. The
second pass decodes their pixels, unless the bucket already has the data set. The manifest is written last.
"""

import hashlib
import io
import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from tuner import names
from tuner.bucket import Bucket
from tuner.data.decode import Conversion, decoder
from tuner.data.layout import Layout
from tuner.data.manifest import Manifest, Shard, Split, data_digest, read_manifest, source_digest
from tuner.data.open_source import open_source
from tuner.data.processes import DecodeBatch, Workers, chunks, decode_chunk, inspect
from tuner.data.shape import one_shape, size_warning
from tuner.data.source import Progress, Source, ignore_progress
from tuner.data.survey import DEFAULT_SPLITTING, Splitting, Survey, survey
from tuner.errors import DataError

SHARD_BYTES = 64 << 20
"""Maximum size of a shard. Shards are few, and three of them (one being filled, two being written) fit in memory."""

_WRITERS = 2


def pack(
    source: str | None,
    bucket: Bucket,
    *,
    resize: tuple[int, int] | None = None,
    convert: bool = False,
    splitting: Splitting = DEFAULT_SPLITTING,
    expected: str | None = None,
    progress: Callable[[Progress], None] = ignore_progress,
) -> Manifest:
    """Pack a source, and return its manifest. Nothing is written if the bucket already has the complete data set.

    Args:
        source: Path of an archive or folder, or its URL in a bucket; None for the built-in sample.
        bucket: Bucket to write to.
        resize: Height and width to which all images are resized.
        convert: Whether all images are converted to RGB.
        splitting: How images get labels and splits that the folders do not give them.
        expected: Digest of the only data set to accept. None: any.
        progress: Is called with the progress.

    Raises:
        DataError: The source cannot be packed, or is another data set than `expected`. The message names the file and
            the reason.
        BucketError: The bucket cannot be written.
    """
    conversion = Conversion(resize, convert)
    with open_source(source, progress) as opened, Workers() as workers:
        surveyed = survey(opened, splitting, workers, inspect, progress, "reading")
        for path, reason in surveyed.damaged.items():
            raise DataError(f"{path}: {reason}. Run `cifake-tune data check` to list all such files.")
        shape = one_shape(surveyed.groups_by_header, conversion)
        return _Packing(opened, surveyed, shape, bucket, conversion, workers, progress).run(expected)


class OtherDataError(DataError):
    """The source is another data set than the expected one."""


@dataclass(frozen=True)
class _Packing:
    """State that the steps of one `pack` share."""

    source: Source
    surveyed: Survey
    shape: tuple[int, int, int]
    bucket: Bucket
    conversion: Conversion
    workers: Workers
    progress: Callable[[Progress], None]

    @property
    def layout(self) -> Layout:
        """The files of each split."""
        return self.surveyed.layout

    def run(self, expected: str | None) -> Manifest:
        """Pack the data set unless the bucket already has it, and return its manifest."""
        layout, conversion, surveyed = self.layout, self.conversion, self.surveyed
        image_names = {split: [layout.image_name(file) for file in layout.files(split)] for split in layout.splits}
        sha256 = {split: [surveyed.sha256[file.path] for file in layout.files(split)] for split in layout.splits}
        of_source = source_digest(
            layout.classes, {split: (image_names[split], sha256[split]) for split in layout.splits}
        )
        digest = data_digest(of_source, conversion.resize, conversion.convert, surveyed.turned)
        if expected not in (None, digest):
            raise OtherDataError(f"{self.source.name}: is now the data set {digest[:12]}.")
        # these do not change the pixels, so another source of the same images may have other ones
        warnings = (*surveyed.warnings, *size_warning(self.shape, surveyed.total))
        remarks = {"notes": surveyed.notes, "warnings": warnings, "made_test": surveyed.made_test}
        whole = _whole(self.bucket, digest)
        if whole is not None:
            return whole.model_copy(update=remarks)
        total = sum(len(split_names) for split_names in image_names.values())
        splits, done = {}, 0
        for split in layout.splits:
            shards = []
            for shard in self._write_shards(split, digest, sha256[split]):
                shards.append(shard)
                done += shard.images
                self.progress(Progress("packing", done, total))
            splits[split] = Split(
                counts=tuple(len(files) for files in layout.splits[split]),
                shards=tuple(shards),
                names=tuple(image_names[split]),
                sha256=tuple(sha256[split]),
            )
        manifest = Manifest(
            digest=digest,
            source_digest=of_source,
            source=self.source.name,
            decoder=decoder(),
            classes=layout.classes,
            image_shape=self.shape,
            resize=conversion.resize,
            convert=conversion.convert,
            splits=splits,
            turned=surveyed.turned,
            **remarks,
        )
        # `write` rather than `create`, because another process that packed the same data wrote the same bytes
        self.bucket.write(names.manifest(digest), manifest.model_dump_json().encode())
        return manifest

    def _write_shards(self, split: str, digest: str, sha256: list[str]) -> Iterator[Shard]:
        """Decode in worker processes, write in threads, and yield the shards in order."""
        files, shape = self.layout.files(split), self.shape
        each = max(1, SHARD_BYTES // math.prod(shape))
        parts = [
            slice(start + part.start, start + part.stop)
            for start in range(0, len(files), each)
            for part in chunks(files[start : start + each], math.prod(shape))
        ]
        work = (DecodeBatch(self.source, files[part], tuple(sha256[part]), self.conversion, shape) for part in parts)
        pixels: list[bytes] = []
        writing: deque[Future[Shard]] = deque()
        with ThreadPoolExecutor(_WRITERS) as threads:
            for part, decoded in zip(parts, self.workers.map(decode_chunk, work), strict=True):
                pixels.append(decoded)
                if part.stop % each and part.stop < len(files):
                    continue
                if len(writing) >= _WRITERS:
                    yield writing.popleft().result()
                index = (part.stop - 1) // each
                name, images = names.shard(digest, split, index), part.stop - index * each
                writing.append(threads.submit(_write_shard, self.bucket, name, (images, *shape), pixels))
                pixels = []
            for shard in writing:
                yield shard.result()


def _whole(bucket: Bucket, digest: str) -> Manifest | None:
    """Return the manifest if the bucket has it and all its shards. Otherwise, delete the manifest."""
    objects = set(bucket.list(names.data_prefix(digest)))
    if names.manifest(digest) not in objects:
        return None
    try:
        manifest = read_manifest(bucket, digest)
    except DataError:
        manifest = None
    if manifest is not None and all(
        shard.name in objects for split in manifest.splits.values() for shard in split.shards
    ):
        return manifest
    bucket.delete(names.manifest(digest))  # it is damaged, or lists shards that are missing
    return None


def _write_shard(bucket: Bucket, name: str, shape: tuple[int, ...], pixels: list[bytes]) -> Shard:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    data = b"".join([header.getvalue(), *pixels])
    pixels.clear()
    bucket.write(name, data)  # not `create`, because an interrupted `pack` may have left the shard
    return Shard(name=name, images=shape[0], size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
