"""GcsBucket: a bucket of Google Cloud Storage, or of its emulator.

Everything is retried by the library's own means: 408, 429, 5xx, cut and stalled connections, with growing random
pauses, until a deadline. A `create` carries the precondition "no such object", which makes its retries safe. A
`write`'s retry sends the same bytes again.
"""

import base64
import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import google_crc32c
import requests
from google.api_core.exceptions import Forbidden, GoogleAPICallError, NotFound, PreconditionFailed, RetryError
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption
from google.cloud.storage.retry import DEFAULT_RETRY

from tuner.bucket.files import downloading
from tuner.bucket.protocol import check_name
from tuner.errors import BucketError, ObjectExistsError, ObjectNotFoundError

# Large objects travel in pieces: each is retried by itself, and memory stays bounded. A multiple of 256 KiB, as the
# library demands; its own default for uploads is 100 MiB.
_PIECE_BYTES = 8 << 20
# An upload in pieces is a session, which ends with an emulator that restarts (404). And where a piece's answer is lost
# and the piece sent again, fake-gcs-server 1.x appends it twice, which the checksum shows; Google's own does not.
_UPLOAD_TRIES = 5
_CONNECT_TIMEOUT_S = 10.0
_MAX_CONNECTIONS = 64
_CONTENT_TYPE = "application/octet-stream"
_CREDENTIALS = (
    "On GKE, bind the pod's service account to one of Google Cloud (Workload Identity); elsewhere run "
    "`gcloud auth application-default login`."
)
_EMULATOR_HINT = " and STORAGE_EMULATOR_HOST"
_SHORT = 200


class GcsBucket:
    """A bucket of Google Cloud Storage, below `prefix` (no slash at its end; may be empty).

    `deadline_s`: how long an operation (of a large object: a piece) may continue failing before BucketError is raised.
    `timeout_s`: how long one request may stay without a byte of answer before it is tried again.
    """

    def __init__(
        self,
        client: storage.Client,
        bucket_name: str,
        prefix: str = "",
        *,
        deadline_s: float = 60.0,
        timeout_s: float = 20.0,
    ) -> None:
        self.url = f"gs://{bucket_name}/{prefix}" if prefix else f"gs://{bucket_name}"
        self._client = client
        self._bucket = client.bucket(bucket_name)
        self._prefix = f"{prefix}/" if prefix else ""
        self._deadline_s = deadline_s
        # The library waits 1 s on average after the first failure; a flush of the journal should not.
        retry = DEFAULT_RETRY.with_timeout(deadline_s).with_delay(initial=0.25, maximum=16.0, multiplier=2.0)
        self._how: dict[str, Any] = {"retry": retry, "timeout": (min(_CONNECT_TIMEOUT_S, timeout_s), timeout_s)}
        self._bucket_was_seen = False

    def read(self, name: str) -> bytes:
        """Return the object's bytes, their checksum verified. Raises ObjectNotFoundError."""
        blob = self._blob(name)
        with self._calling("read", name):
            try:
                data: bytes = blob.download_as_bytes(raw_download=True, **self._how)
            except NotFound as error:
                self._raise_not_found(name, error)
        return data

    def write(self, name: str, data: bytes) -> None:
        """Create or replace the object."""
        blob = self._blob(name)
        with self._calling("write", name):
            self._send(blob, io.BytesIO(data), len(data))

    def create(self, name: str, data: bytes) -> None:
        """Create the object. Raises ObjectExistsError if the name is taken by other bytes.

        "The name is taken" (412) may be the answer to our second try, when the first one worked and its answer was
        lost on the way. So the object is read: callers put their own id into the data, hence the same bytes mean that
        the object is ours.
        """
        blob = self._blob(name)
        with self._calling("create", name):
            try:
                self._send(blob, io.BytesIO(data), len(data), if_generation_match=0)
            except PreconditionFailed as error:
                if not self._holds(name, data):
                    raise ObjectExistsError(f"The bucket {self.url} has an object {name} already.") from error

    def upload(self, name: str, path: Path) -> None:
        """Create or replace the object from a local file."""
        blob = self._blob(name)
        try:
            source = path.open("rb")
        except OSError as error:
            raise BucketError(f"Cannot read {path} to store it as {name} in {self.url}: {error.strerror}.") from error
        with source, self._calling("write", name):
            self._send(blob, source, os.fstat(source.fileno()).st_size)

    def download(self, name: str, path: Path) -> None:
        """Write the object to a local file, its checksum verified. Raises ObjectNotFoundError."""
        pieces = self._pieces(name)
        first = next(pieces, b"")  # before anything is written: the object may be missing
        with downloading(f"{name} from {self.url}", path) as file:
            file.write(first)
            for piece in pieces:
                file.write(piece)

    def exists(self, name: str) -> bool:
        """Return whether the object exists."""
        blob = self._blob(name)
        with self._calling("look for", name):
            if blob.exists(**self._how):
                return True
            self._check_bucket()
            return False

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield, in lexicographic order, the names of all objects that start with `prefix`."""
        return self._list(prefix)

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield, in lexicographic order, the names of the folders in `prefix` that have objects."""
        whole = self._prefix + prefix
        with self._calling("list", prefix):
            found = self._client.list_blobs(
                self._bucket, prefix=whole, delimiter="/", fields="prefixes,nextPageToken", **self._how
            )
            for page in found.pages:
                for each in map(str, page.prefixes):
                    if any(self._list(each.removeprefix(self._prefix), page_size=2)):
                        yield each.removeprefix(whole).removesuffix("/")

    def delete(self, name: str) -> None:
        """Delete the object; one that does not exist is no error."""
        blob = self._blob(name)
        with self._calling("delete", name):
            try:
                blob.delete(**self._how)
            except NotFound:
                self._check_bucket()

    def _list(self, prefix: str, page_size: int | None = None) -> Iterator[str]:
        with self._calling("list", prefix or "/"):
            found = self._client.list_blobs(
                self._bucket,
                prefix=self._prefix + prefix,
                fields="items(name),nextPageToken",
                page_size=page_size,
                **self._how,
            )
            names = (str(blob.name).removeprefix(self._prefix) for blob in found)
            # The console and gsutil make "folders": empty objects whose names end with a slash.
            yield from (name for name in names if name and not name.endswith("/"))

    def _blob(self, name: str) -> Any:
        return self._bucket.blob(self._prefix + check_name(name))

    def _send(self, blob: Any, source: BinaryIO, size: int, **conditions: int) -> None:
        """Send one object: up to 8 MiB in one request, more in pieces."""
        blob.chunk_size = _PIECE_BYTES
        for tries_left in reversed(range(_UPLOAD_TRIES)):
            try:
                source.seek(0)
                blob.upload_from_file(
                    source, size=size, content_type=_CONTENT_TYPE, checksum="crc32c", **conditions, **self._how
                )
                return
            except (DataCorruption, NotFound):
                self._check_bucket()
                if not tries_left:
                    raise

    def _holds(self, name: str, data: bytes) -> bool:
        try:
            return self.read(name) == data
        except ObjectNotFoundError:
            return False  # deleted since; it was there when we were refused

    def _pieces(self, name: str) -> Iterator[bytes]:
        """Yield one version of the object piece by piece; the whole's checksum is verified after the last."""
        with self._calling("read", name):
            found = self._bucket.get_blob(self._prefix + check_name(name), **self._how)
            if found is None:
                self._raise_not_found(name, None)
            size, generation, expected = int(found.size), int(found.generation), found.crc32c
        # A new blob, since `found` would be read from the media link that the server made up.
        blob = self._bucket.blob(found.name, generation=generation)
        checksum = 0
        for start in range(0, size, _PIECE_BYTES):
            end = min(start + _PIECE_BYTES, size) - 1
            with self._calling("read", name):
                try:
                    piece = blob.download_as_bytes(start=start, end=end, raw_download=True, checksum=None, **self._how)
                except NotFound as error:
                    raise BucketError(f"{name} in {self.url} was replaced or deleted while it was read.") from error
            checksum = google_crc32c.extend(checksum, piece)
            yield piece
        if expected != base64.b64encode(checksum.to_bytes(4, "big")).decode():
            raise BucketError(f"{name} in {self.url} did not arrive whole: its checksum is wrong. Try again.")

    def _raise_not_found(self, name: str, error: NotFound | None) -> NoReturn:
        self._check_bucket()
        raise ObjectNotFoundError(f"The bucket {self.url} has no object {name}.") from error

    def _check_bucket(self) -> None:
        """Raise NotFound if the bucket itself is missing. Listing is what the role for objects allows."""
        if not self._bucket_was_seen:
            for _ in self._client.list_blobs(self._bucket, max_results=1, fields="items(name)", **self._how):
                break
            self._bucket_was_seen = True

    @contextlib.contextmanager
    def _calling(self, doing: str, name: str) -> Iterator[None]:
        """Turn the library's errors into a sentence that says what to do."""
        try:
            yield
            self._bucket_was_seen = True
        except BucketError:
            raise
        except (GoogleAPICallError, RetryError, GoogleAuthError, requests.RequestException, DataCorruption) as error:
            raise BucketError(f"Cannot {doing} {name} in {self.url}: {self._explain(error)}") from error

    def _explain(self, error: Exception) -> str:
        bucket = self._bucket.name
        match error:
            case NotFound():
                return (
                    f"there is no bucket {bucket}. Check the name after gs://, or create it: "
                    f"gcloud storage buckets create gs://{bucket}"
                )
            case Forbidden():
                return (
                    f"no rights ({_short(error)}). Give this account the role roles/storage.objectUser on the bucket "
                    f"{bucket}."
                )
            case GoogleAuthError():
                return f"the credentials do not work ({_short(error)}). {_CREDENTIALS}"
            case GoogleAPICallError(code=401):
                return f"the credentials were refused ({_short(error)}). {_CREDENTIALS}"
            case RetryError() | requests.RequestException():
                cause = getattr(error, "cause", None) or error
                return (
                    f"tried for {self._deadline_s:g} s, and {_endpoint(self._client)} kept failing "
                    f"({_short(cause)}). Check the network{_EMULATOR_HINT if _emulator() else ''}, then try again."
                )
            case _:
                return f"{_short(error)}."


def connect() -> storage.Client:
    """Return a client with the credentials that the library finds, or for STORAGE_EMULATOR_HOST with none.

    Raises BucketError if no credentials are found.
    """
    # Else the library asks for the bucket's metadata in the background, once per client, for traces that no one takes.
    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    emulator = _emulator()
    # Go's client library takes the variable without a scheme, so people set it without one.
    options = {"api_endpoint": f"http://{emulator}"} if emulator and "://" not in emulator else None
    try:
        # No project: it is only needed to make buckets.
        client = storage.Client(project=None, client_options=options)
    except DefaultCredentialsError as error:
        raise BucketError(
            f"No credentials for Google Cloud Storage were found ({_short(error)}). {_CREDENTIALS}"
        ) from error
    except GoogleAuthError as error:
        raise BucketError(f"The credentials for Google Cloud Storage do not work ({_short(error)}).") from error
    for scheme in ("http://", "https://"):
        # Threads share the client; requests would keep ten connections and log a warning about each one more.
        client._http.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=_MAX_CONNECTIONS))
    return client


def _emulator() -> str:
    return os.environ.get("STORAGE_EMULATOR_HOST", "")


def _endpoint(client: storage.Client) -> str:
    return str(client.api_endpoint)


def _short(error: object) -> str:
    """The error on one line, as far as a person reads it."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}…"
