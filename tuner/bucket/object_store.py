"""ObjectStoreBucket: a bucket of S3 or of Azure Blob Storage, by obstore.

Failed requests are repeated with growing random delays up to a deadline. A `create` carries the precondition "no such
object" (`If-None-Match: *`), which makes its repetition safe. A repeated `write` sends the same bytes.
"""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from tuner.bucket.files import COPY_BYTES, download_pieces
from tuner.bucket.object_services import Service
from tuner.bucket.object_store_failures import Cause, read_failure
from tuner.bucket.protocol import check_name
from tuner.errors import BucketError, BucketFullError, ObjectExistsError, ObjectNotFoundError

if TYPE_CHECKING:
    from obstore import GetOptions  # exists for type checkers only

_PIECE_BYTES = 8 << 20
"""Size of the pieces in which larger objects are uploaded. S3 allows 10,000 pieces, so objects of up to 80 GiB."""
_PIECES_AT_ONCE = 2
_CREATE_TRIES = 5
"""Maximum number of attempts at a create whose name is reported as taken although no object has it. S3 answers so if
another create or a deletion of the same name is under way (409 ConditionalRequestConflict)."""
_UPLOAD_TRIES = 5
"""Maximum number of attempts at an upload in pieces. It seems to have ended too early if its last response is lost."""
_DOWNLOAD_TRIES = 5
"""Maximum number of connections that are lost in a row without a byte of a download."""
_LISTED_AT_ONCE = 1000
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class _Entry:
    name: str
    size_bytes: int


class ObjectStoreBucket:
    """A bucket of S3 or Azure Blob Storage, limited to the names below `prefix`.

    Args:
        service: The bucket and how to reach it.
        prefix: Prefix of all object names, without a slash at its end. It may be empty.
        deadline_s: Seconds of failures after which an operation (or a piece of a large object) raises BucketError.
        timeout_s: Seconds without a byte of response after which a request is repeated.
    """

    def __init__(
        self, service: Service, prefix: str = "", *, deadline_s: float = 60.0, timeout_s: float = 20.0
    ) -> None:
        self.url = f"{service.url}/{prefix}" if prefix else service.url
        self._service = service
        self._prefix = f"{prefix}/" if prefix else ""
        self._deadline_s = deadline_s
        self._store = service.open(timeout_s, 0)
        self._patient_store = service.open(timeout_s, deadline_s)  # repeats a piece rather than the whole object
        self._bucket_exists = False

    def read(self, name: str) -> bytes:
        """Return the object's bytes. Raises ObjectNotFoundError."""
        key = self._key(name)
        with self._calling("read", name):
            try:
                return self._repeat(lambda: bytes(obstore.get(self._store, key).bytes()))
            except FileNotFoundError as error:
                self._raise_not_found(name, error)

    def write(self, name: str, data: bytes) -> None:
        """Create or replace the object."""
        key = self._key(name)
        with self._calling("write", name):
            self._put(key, data, len(data))

    def create(self, name: str, data: bytes) -> None:
        """Create the object. Raises ObjectExistsError if the name is taken by other bytes.

        The response "name taken" may belong to a repetition after the first request succeeded and its response was
        lost. Therefore the object is read. Callers put a unique id into the data, so the same bytes mean that this
        call created the object.
        """
        key = self._key(name)
        with self._calling("create", name):
            for tries_left in reversed(range(_CREATE_TRIES)):
                try:
                    self._repeat(lambda: obstore.put(self._store, key, data, mode="create", use_multipart=False))
                    return
                except AlreadyExistsError as error:
                    held = self._held(name)
                    if held == data:
                        return
                    if held is not None:
                        raise ObjectExistsError(f"The bucket {self.url} already has an object {name}.") from error
                    if not tries_left:
                        raise
                    time.sleep(1 / (1 + tries_left))

    def upload(self, name: str, path: Path) -> None:
        """Create or replace the object from a local file."""
        key = self._key(name)
        try:
            size = path.stat().st_size
            source = path if size > _PIECE_BYTES else path.read_bytes()
        except OSError as error:
            raise BucketError(f"Cannot read {path} to store it as {name} in {self.url}: {error.strerror}.") from error
        with self._calling("write", name):
            self._put(key, source, size)

    def download(self, name: str, path: Path) -> None:
        """Write the object to a local file. Raises ObjectNotFoundError."""
        download_pieces(f"{name} from {self.url}", self._pieces(name), path)

    def exists(self, name: str) -> bool:
        """Return whether the object exists."""
        key = self._key(name)
        with self._calling("look for", name):
            try:
                self._repeat(lambda: obstore.head(self._store, key))
            except FileNotFoundError:
                self._check_bucket()
                return False
            return True

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield, in lexicographic order, the names of all objects that start with `prefix`."""
        for entry in self._entries(prefix):
            if self._is_object(entry):
                yield entry.name

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield, in lexicographic order, the names of the folders in `prefix` that contain objects."""
        with self._calling("list", prefix):
            listing = self._repeat(lambda: obstore.list_with_delimiter(self._store, self._prefix + prefix))
        keys = sorted(f"{key.rpartition('/')[2]}/" for key in listing["common_prefixes"])
        for key in keys:
            if any(map(self._is_object, self._entries(prefix + key))):
                yield key.removesuffix("/")

    def size_bytes(self, prefix: str) -> int:
        """Return the total size of all objects whose names start with `prefix`, in bytes."""
        return sum(entry.size_bytes for entry in self._entries(prefix))

    def delete(self, name: str) -> None:
        """Delete the object. A missing object is not an error."""
        key = self._key(name)
        with self._calling("delete", name):
            try:
                self._repeat(lambda: obstore.delete(self._store, key))
            except FileNotFoundError:
                self._check_bucket()

    def _key(self, name: str) -> str:
        return self._prefix + check_name(name)

    def _put(self, key: str, source: bytes | Path, size: int) -> None:
        """Upload an object: up to 8 MiB in one request, larger ones in pieces."""
        is_large = size > _PIECE_BYTES
        store = self._patient_store if is_large else self._store
        options = {"use_multipart": is_large, "chunk_size": _PIECE_BYTES, "max_concurrency": _PIECES_AT_ONCE}
        put = functools.partial(obstore.put, store, key, source, **options)  # type: ignore[arg-type]
        for tries_left in reversed(range(_UPLOAD_TRIES)):
            try:
                self._repeat(put)
                return
            except (BaseError, FileNotFoundError) as error:
                if not tries_left or read_failure(error).cause is not Cause.UPLOAD_ENDED:
                    raise

    def _held(self, name: str) -> bytes | None:
        try:
            return self.read(name)
        except ObjectNotFoundError:
            return None

    def _pieces(self, name: str) -> Iterator[bytes]:
        """Yield one version of the object in pieces. After a lost connection, continue where it was lost."""
        key, start, size, version, tries_left = self._key(name), 0, 1, None, _DOWNLOAD_TRIES
        while start < size:
            options: GetOptions = {"range": {"offset": start}, "if_match": version} if start else {}
            with self._calling("read", name):
                try:
                    answer = self._repeat(functools.partial(obstore.get, self._store, key, options=options))
                    size, version = answer.meta["size"], answer.meta["e_tag"]
                    for piece in answer.stream(min_chunk_size=COPY_BYTES):
                        start += len(piece)
                        tries_left = _DOWNLOAD_TRIES
                        yield bytes(piece)
                    if start < size:
                        raise BucketError(f"{name} in {self.url} ended after {start:,} of {size:,} bytes. Try again.")
                except (FileNotFoundError, PreconditionError) as error:
                    if not start:
                        self._raise_not_found(name, error)
                    raise BucketError(
                        f"{name} in {self.url} was replaced or deleted while it was being read. Try again."
                    ) from error
                except BaseError as error:
                    tries_left -= 1
                    if not tries_left or not self._passes(error):
                        raise

    def _entries(self, prefix: str) -> Sequence[_Entry]:
        """Return the objects whose names start with `prefix`, in order of their names."""
        folder, _, _ = prefix.rpartition("/")
        if folder and any(part in ("", ".", "..") for part in folder.split("/")):
            return []  # no valid name starts with such a part, and `..` must not lead out of the bucket
        # obstore lists folders only: `j` would not find `jar`. Not every service lists in the order of names.
        place = f"{self._prefix}{folder}/" if folder else self._prefix
        with self._calling("list", prefix or "/"):
            found = self._repeat(lambda: obstore.list(self._store, place or None, chunk_size=_LISTED_AT_ONCE).collect())
        entries = (_Entry(item["path"].removeprefix(self._prefix), item["size"]) for item in found)
        return sorted((entry for entry in entries if entry.name.startswith(prefix)), key=lambda entry: entry.name)

    def _is_object(self, entry: _Entry) -> bool:
        """Return whether the object has this name, without a slash at the end.

        Consoles create "folders": empty objects whose names end with a slash, which obstore lists without it.
        """
        if entry.size_bytes:
            return True
        with self._calling("look for", entry.name):
            try:
                self._repeat(lambda: obstore.head(self._store, self._prefix + entry.name))
            except FileNotFoundError:
                return False
            return True

    def _raise_not_found(self, name: str, error: Exception) -> NoReturn:
        self._check_bucket()
        raise ObjectNotFoundError(f"The bucket {self.url} has no object {name}.") from error

    def _check_bucket(self) -> None:
        """Raise obstore's error if the bucket itself is missing, or cannot be listed."""
        if not self._bucket_exists:
            self._repeat(lambda: next(iter(obstore.list(self._store, self._prefix or None)), None))

    def _repeat(self, request: Callable[[], Answer]) -> Answer:
        """Return the request's result. Repeat it while it fails for reasons that pass, up to the deadline."""
        retrying = Retrying(
            retry=retry_if_exception(self._passes),
            stop=stop_after_delay(self._deadline_s),
            wait=wait_random_exponential(multiplier=0.25, max=16.0),
            reraise=True,
        )
        answer = retrying(request)
        self._bucket_exists = True
        return answer

    def _passes(self, error: BaseException) -> bool:
        """Return whether the reason of the failure may pass."""
        if not isinstance(error, BaseError):
            return False
        cause = read_failure(error).cause
        # Before the first success, the server of credentials is probably missing for good.
        return cause is Cause.PASSING or (cause is Cause.NO_CREDENTIALS and self._bucket_exists)

    @contextlib.contextmanager
    def _calling(self, doing: str, name: str) -> Iterator[None]:
        """Convert obstore's errors to a BucketError that says what to do."""
        try:
            yield
        except BucketError:
            raise
        except (BaseError, OSError, ValueError) as error:
            failure = read_failure(error)
            service = {key: getattr(self._service, key) for key in Service.__annotations__}
            sentence = failure.cause.value.format(reason=failure.reason, deadline_s=self._deadline_s, **service)
            kind = BucketFullError if failure.cause is Cause.FULL else BucketError
            raise kind(f"Cannot {doing} {name} in {self.url}: {sentence}") from error
