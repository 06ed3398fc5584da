"""GcsBucket: a bucket of Google Cloud Storage or its emulator.

The library's own retries cover 408, 429, 5xx, and broken or stalled connections, with growing random delays up to a
deadline. A `create` carries the precondition "no such object", which makes its retries safe. A retried `write` sends
the same bytes.
"""

import base64
import contextlib
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import google_crc32c
import requests
from google.api_core.exceptions import Forbidden, GoogleAPICallError, NotFound, PreconditionFailed, RetryError
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption
from google.cloud.storage.retry import DEFAULT_RETRY

from tuner.bucket.files import download_pieces
from tuner.bucket.protocol import check_name
from tuner.errors import BucketError, ObjectExistsError, ObjectNotFoundError

_PIECE_BYTES = 8 << 20
"""Size of the pieces of large objects. Each piece is retried separately, and memory stays bounded. The library requires
a multiple of 256 KiB. Its own default for uploads is 100 MiB."""
_UPLOAD_TRIES = 5
"""Maximum number of attempts at an upload. An upload in pieces is a session, which ends if the emulator restarts (404).
If the response to a piece is lost and the piece is sent again, fake-gcs-server 1.x appends it twice, which the checksum
detects. Google's server does not append it twice."""
_CONNECT_TIMEOUT_S = 10.0
_MAX_CONNECTIONS = 64
_CONTENT_TYPE = "application/octet-stream"
_CREDENTIALS = (
    "On GKE, bind the pod's service account to a Google Cloud service account (Workload Identity). Elsewhere, run "
    "`gcloud auth application-default login`."
)
_EMULATOR_HINT = " and STORAGE_EMULATOR_HOST"
_MAX_ERROR_CHARACTERS = 200


class GcsBucket:
    """A bucket of Google Cloud Storage, limited to the names below `prefix`.

    Args:
        client: The library's client, see `connect`.
        bucket_name: Name of the bucket, without `gs://`.
        prefix: Prefix of all object names, without a slash at its end. It may be empty.
        deadline_s: Seconds of failures after which an operation (or a piece of a large object) raises BucketError.
        timeout_s: Seconds without a byte of response after which a request is retried.
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
        # The library waits 1 s on average after the first failure, which is too long for a flush of the journal.
        retry = DEFAULT_RETRY.with_timeout(deadline_s).with_delay(initial=0.25, maximum=16.0, multiplier=2.0)
        self._options: dict[str, Any] = {"retry": retry, "timeout": (min(_CONNECT_TIMEOUT_S, timeout_s), timeout_s)}
        self._bucket_exists = False

    def read(self, name: str) -> bytes:
        """Return the object's bytes after verifying their checksum. Raises ObjectNotFoundError."""
        blob = self._blob(name)
        with self._calling("read", name):
            try:
                data: bytes = blob.download_as_bytes(raw_download=True, **self._options)
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

        The response "name taken" (412) may belong to a retry after the first request succeeded and its response was
        lost. Therefore the object is read. Callers put a unique id into the data, so the same bytes mean that this
        call created the object.
        """
        blob = self._blob(name)
        with self._calling("create", name):
            try:
                self._send(blob, io.BytesIO(data), len(data), if_generation_match=0)
            except PreconditionFailed as error:
                if not self._holds(name, data):
                    raise ObjectExistsError(f"The bucket {self.url} already has an object {name}.") from error

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
        """Write the object to a local file and verify its checksum. Raises ObjectNotFoundError."""
        download_pieces(f"{name} from {self.url}", self._pieces(name), path)

    def exists(self, name: str) -> bool:
        """Return whether the object exists."""
        blob = self._blob(name)
        with self._calling("look for", name):
            if blob.exists(**self._options):
                return True
            self._check_bucket()
            return False

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield, in lexicographic order, the names of all objects that start with `prefix`."""
        return self._list(prefix)

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield, in lexicographic order, the names of the folders in `prefix` that contain objects."""
        whole = self._prefix + prefix
        with self._calling("list", prefix):
            listing = self._client.list_blobs(
                self._bucket, prefix=whole, delimiter="/", fields="prefixes,nextPageToken", **self._options
            )
            for page in listing.pages:
                for folder in map(str, page.prefixes):
                    if any(self._list(folder.removeprefix(self._prefix), page_size=2)):
                        yield folder.removeprefix(whole).removesuffix("/")

    def size_bytes(self, prefix: str) -> int:
        """Return the total size of all objects whose names start with `prefix`, in bytes."""
        with self._calling("list", prefix or "/"):
            listing = self._client.list_blobs(
                self._bucket, prefix=self._prefix + prefix, fields="items(size),nextPageToken", **self._options
            )
            return sum(int(blob.size or 0) for blob in listing)

    def delete(self, name: str) -> None:
        """Delete the object. A missing object is not an error."""
        blob = self._blob(name)
        with self._calling("delete", name):
            try:
                blob.delete(**self._options)
            except NotFound:
                self._check_bucket()

    def _list(self, prefix: str, page_size: int | None = None) -> Iterator[str]:
        with self._calling("list", prefix or "/"):
            listing = self._client.list_blobs(
                self._bucket,
                prefix=self._prefix + prefix,
                fields="items(name),nextPageToken",
                page_size=page_size,
                **self._options,
            )
            names = (str(blob.name).removeprefix(self._prefix) for blob in listing)
            # The console and gsutil create "folders": empty objects whose names end with a slash.
            yield from (name for name in names if name and not name.endswith("/"))

    def _blob(self, name: str) -> Any:
        return self._bucket.blob(self._prefix + check_name(name))

    def _send(self, blob: Any, source: BinaryIO, size: int, **conditions: int) -> None:
        """Upload an object: up to 8 MiB in one request, larger ones in pieces."""
        blob.chunk_size = _PIECE_BYTES
        for tries_left in reversed(range(_UPLOAD_TRIES)):
            try:
                source.seek(0)
                blob.upload_from_file(
                    source, size=size, content_type=_CONTENT_TYPE, checksum="crc32c", **conditions, **self._options
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
            return False  # deleted after the name was reported as taken

    def _pieces(self, name: str) -> Iterator[bytes]:
        """Yield one version of the object in pieces, and verify the checksum of the object after the last one."""
        with self._calling("read", name):
            current = self._bucket.get_blob(self._prefix + check_name(name), **self._options)
            if current is None:
                self._raise_not_found(name, None)
            size, generation, expected = int(current.size), int(current.generation), current.crc32c
        # A new blob, since `current` would be read from the media link that the emulator invents.
        blob = self._bucket.blob(current.name, generation=generation)
        checksum = 0
        for start in range(0, size, _PIECE_BYTES):
            end = min(start + _PIECE_BYTES, size) - 1
            with self._calling("read", name):
                try:
                    piece = blob.download_as_bytes(
                        start=start, end=end, raw_download=True, checksum=None, **self._options
                    )
                except NotFound as error:
                    raise BucketError(
                        f"{name} in {self.url} was replaced or deleted while it was being read. Try again."
                    ) from error
            checksum = google_crc32c.extend(checksum, piece)
            yield piece
        if expected != base64.b64encode(checksum.to_bytes(4, "big")).decode():
            raise BucketError(f"{name} in {self.url} arrived damaged (its checksum is wrong). Try again.")

    def _raise_not_found(self, name: str, error: NotFound | None) -> NoReturn:
        self._check_bucket()
        raise ObjectNotFoundError(f"The bucket {self.url} has no object {name}.") from error

    def _check_bucket(self) -> None:
        """Raise NotFound if the bucket itself is missing. The role for objects allows no other check than a listing."""
        if not self._bucket_exists:
            for _ in self._client.list_blobs(self._bucket, max_results=1, fields="items(name)", **self._options):
                break
            self._bucket_exists = True

    @contextlib.contextmanager
    def _calling(self, doing: str, name: str) -> Iterator[None]:
        """Convert the library's errors to a BucketError that says what to do."""
        try:
            yield
            self._bucket_exists = True
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
                    f"no permission ({_short(error)}). Give this account the role roles/storage.objectUser on the "
                    f"bucket {bucket}."
                )
            case GoogleAuthError():
                return f"the credentials do not work ({_short(error)}). {_CREDENTIALS}"
            case GoogleAPICallError(code=401):
                return f"the credentials were refused ({_short(error)}). {_CREDENTIALS}"
            case RetryError() | requests.RequestException():
                cause = getattr(error, "cause", None) or error
                return (
                    f"{_endpoint(self._client)} kept failing for {self._deadline_s:g} s "
                    f"({_short(cause)}). Check the network{_EMULATOR_HINT if _emulator() else ''}, then try again."
                )
            case _:
                return f"{_short(error)}."


def connect() -> storage.Client:
    """Return a client with the credentials that the library finds, or without any if STORAGE_EMULATOR_HOST is set.

    Raises BucketError if no credentials are found.
    """
    # Otherwise each client requests the bucket's metadata in the background, for traces that are not collected.
    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    emulator = _emulator()
    # Go's client library expects the variable without a scheme, so users set it without one.
    options = {"api_endpoint": f"http://{emulator}"} if emulator and "://" not in emulator else None
    try:
        # A project is only needed to create buckets.
        client = storage.Client(project=None, client_options=options)
    except DefaultCredentialsError as error:
        raise BucketError(
            f"No credentials for Google Cloud Storage were found ({_short(error)}). {_CREDENTIALS}"
        ) from error
    except GoogleAuthError as error:
        raise BucketError(
            f"The credentials for Google Cloud Storage do not work ({_short(error)}). {_CREDENTIALS}"
        ) from error
    adapter = _DirectAdapter if emulator else requests.adapters.HTTPAdapter
    for scheme in ("http://", "https://"):
        # Threads share the client; by default, requests keeps ten connections and logs a warning for each further one.
        client._http.mount(scheme, adapter(pool_maxsize=_MAX_CONNECTIONS))
    return client


class _DirectAdapter(requests.adapters.HTTPAdapter):
    """Connects without a proxy, which would not reach an emulator on this machine or in this cluster."""

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send a request, and ignore the proxies that the session has found in the environment."""
        return super().send(request, stream, timeout, verify, cert, proxies={})


def _emulator() -> str:
    return os.environ.get("STORAGE_EMULATOR_HOST", "")


def _endpoint(client: storage.Client) -> str:
    return str(client.api_endpoint)


def _short(error: object) -> str:
    """Return the error on one line, shortened to a readable length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _MAX_ERROR_CHARACTERS else f"{text[:_MAX_ERROR_CHARACTERS]}…"
