"""Pack a source: write its images as shards with a manifest to a folder of the bucket that is named by their content.

The files are read twice. The first pass computes their hashes, which name the data set, and reads their headers. The
second pass decodes their pixels, unless the bucket already has the data set. The manifest is written last.
"""

import hashlib
import io
import math
import re
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

import numpy as np

from tuner import names
from tuner.bucket import Bucket
from tuner.data.decode import Conversion, ImageHeader, decoder, is_convertible
from tuner.data.layout import SPLITS, Layout, find_layout
from tuner.data.manifest import Manifest, Shard, Split, data_digest, read_manifest, source_digest
from tuner.data.open_source import open_source
from tuner.data.processes import DecodeBatch, FileBatch, FileGroup, Workers, add_groups, chunks, decode_chunk, inspect
from tuner.data.source import Progress, Source, ignore_progress
from tuner.errors import DataError

SHARD_BYTES = 64 << 20
"""Maximum size of a shard. Shards are few, and three of them (one being filled, two being written) fit in memory."""

MAX_SIDE = 4096
_WRITERS = 2


def pack(
    source: str | None,
    bucket: Bucket,
    *,
    resize: tuple[int, int] | None = None,
    convert: bool = False,
    progress: Callable[[Progress], None] = ignore_progress,
) -> Manifest:
    """Pack a zip archive, a folder, `gs://…`, or (if `source` is None) the built-in sample. Return the manifest.

    `resize` is (height, width). Nothing is written if the bucket already has the complete data set. Raises DataError,
    whose message names the file and the reason, and BucketError.
    """
    if resize is not None and not all(1 <= side <= MAX_SIDE for side in resize):
        raise DataError(f"--resize must have sides of 1 to {MAX_SIDE} pixels, got {resize[0]}x{resize[1]}.")
    conversion = Conversion(resize, convert)
    with open_source(source, progress) as opened, Workers() as workers:
        workers.start(opened.likely_files())
        layout = find_layout(opened.entries(), opened.name)
        workers.start(sum(len(layout.files(split)) for split in SPLITS))
        return _Packing(opened, layout, bucket, conversion, workers, progress).run()


@dataclass(frozen=True)
class _Hashed:
    """Results of the first pass over the files."""

    sha256: dict[str, list[str]]
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class _Packing:
    """State that the steps of one `pack` share."""

    source: Source
    layout: Layout
    bucket: Bucket
    conversion: Conversion
    workers: Workers
    progress: Callable[[Progress], None]

    def run(self) -> Manifest:
        """Pack the data set unless the bucket already has it, and return its manifest."""
        layout, conversion = self.layout, self.conversion
        hashed = self._hash()
        image_names = {split: [layout.image_name(file) for file in layout.files(split)] for split in SPLITS}
        images = {split: (image_names[split], hashed.sha256[split]) for split in SPLITS}
        of_source = source_digest(layout.classes, images)
        digest = data_digest(of_source, conversion.resize, conversion.convert)
        whole = _whole(self.bucket, digest)
        if whole is not None:
            return whole
        total = sum(len(split_names) for split_names in image_names.values())
        splits, done = {}, 0
        for split in SPLITS:
            shards = []
            for shard in self._write_shards(split, digest, hashed):
                shards.append(shard)
                done += shard.images
                self.progress(Progress("packing", done, total))
            splits[split] = Split(
                counts=tuple(len(files) for files in layout.splits[split]),
                shards=tuple(shards),
                names=tuple(image_names[split]),
                sha256=tuple(hashed.sha256[split]),
            )
        manifest = Manifest(
            digest=digest,
            source_digest=of_source,
            source=self.source.name,
            decoder=decoder(),
            classes=layout.classes,
            image_shape=hashed.shape,
            resize=conversion.resize,
            convert=conversion.convert,
            splits=splits,
        )
        # `write` rather than `create`, because another process that packed the same data wrote the same bytes
        self.bucket.write(names.manifest(digest), manifest.model_dump_json().encode())
        return manifest

    def _hash(self) -> _Hashed:
        """Hash all files and read their headers. Raises DataError if the images do not have the same shape."""
        everything = tuple(chain.from_iterable(self.layout.files(split) for split in SPLITS))
        work = (FileBatch(self.source, everything[part]) for part in chunks(everything, bytes_each=1))
        sha256: list[str] = []
        by_header: dict[ImageHeader, FileGroup] = {}
        for result in self.workers.map(inspect, work):
            for path, reason in result.damaged.items():
                raise DataError(f"{path}: {reason}. Run `cifake-tune data check` to list all such files.")
            add_groups(by_header, result.groups_by_header)
            sha256 += result.sha256
            self.progress(Progress("reading", len(sha256), len(everything)))
        trained = len(self.layout.files("train"))
        return _Hashed({"train": sha256[:trained], "test": sha256[trained:]}, _one_shape(by_header, self.conversion))

    def _write_shards(self, split: str, digest: str, hashed: _Hashed) -> Iterator[Shard]:
        """Decode in worker processes, write in threads, and yield the shards in order."""
        files, sha256, shape = self.layout.files(split), hashed.sha256[split], hashed.shape
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


def _one_shape(by_header: dict[ImageHeader, FileGroup], conversion: Conversion) -> tuple[int, int, int]:
    """Return the shape that all images have or are resized to. Raises DataError if sizes or modes are not allowed."""
    for header, group in by_header.items():
        if header.mode != "RGB" and not is_convertible(header.mode):
            raise DataError(
                f"{group.first}: has mode {header.mode} (images of this size and mode: {group.count}), but only 8 bits "
                "per channel are supported. Convert or remove these images."
            )
        if header.mode != "RGB" and not conversion.convert:
            raise DataError(
                f"{group.first}: has mode {header.mode} instead of RGB (images of this size and mode: {group.count}). "
                "Use --convert to convert all images to RGB."
            )
    if conversion.resize is not None:
        return (*conversion.resize, 3)
    sizes: dict[tuple[int, int], FileGroup] = {}
    for header, group in by_header.items():
        add_groups(sizes, {(header.height, header.width): group})
    usual, *others = sorted(sizes, key=lambda size: -sizes[size].count)
    if others:
        height, width = others[0]
        raise DataError(
            f"{sizes[others[0]].first}: is {height}x{width}, but most images are {usual[0]}x{usual[1]} (height x "
            f"width; {len(sizes)} sizes in all). Use --resize {usual[0]}x{usual[1]} to resize all images."
        )
    return (*usual, 3)


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


def parse_size(text: str) -> tuple[int, int]:
    """Return (height, width) from text such as `32x32`. Raises DataError."""
    match = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text.strip())
    if not match:
        raise DataError(f"--resize must be HEIGHTxWIDTH in pixels, such as 32x32, got {text!r}.")
    return int(match[1]), int(match[2])
