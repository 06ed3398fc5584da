"""Real servers of S3 (versitygw) and of Azure Blob Storage (Azurite) on free loopback ports."""

import base64
import contextlib
import email.utils
import hashlib
import hmac
import os
import shutil
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from tests.support.children import ending
from tests.support.fault_proxy import Request, running_proxy, without
from tests.support.gcs_emulator import free_port
from tuner.rpc.tls import Files

ACCESS_KEY, SECRET_KEY, REGION = "tester", "a secret of the tests", "us-east-1"
ACCOUNT = "devstoreaccount1"
# Azurite's own key, which its documentation publishes
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_API_VERSION = "2021-08-06"
_START_TIMEOUT_S = 30.0
_INSTALLER = Path(__file__).with_name("object-servers")
VARIABLES = (
    *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_CA_BUNDLE", "AZURE_STORAGE_CONNECTION_STRING"),
    *("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"),
)
"""Variables of the developer's machine that would change where the tests go."""


@dataclass(frozen=True)
class S3Server:
    """A running versitygw. A folder of `folder` is a bucket."""

    url: str
    folder: Path
    pid: int
    scheme: str = "s3"

    def new_bucket(self) -> str:
        """Make a bucket and return its name."""
        name = _new_name()
        (self.folder / name).mkdir()
        return name

    def environment(self, url: str = "") -> Mapping[str, str]:
        """Return the variables that lead to the server, or to a proxy of it at `url`."""
        return {
            "AWS_ENDPOINT_URL": url or self.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
        }

    def make_folder(self, bucket: str, key: str) -> None:
        """Make an empty object whose name ends with a slash, as the console does."""
        place = f"/{bucket}/{quote(key)}"
        request = urllib.request.Request(f"{self.url}{place}", b"", self.signed("PUT", place), method="PUT")
        with urllib.request.urlopen(request, timeout=10):
            pass

    def signed(self, method: str, place: str, body: bytes = b"") -> Mapping[str, str]:
        """Return the headers with which a request to the quoted path `place`, without a query, is accepted.

        See https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html.
        """
        now, digest = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), hashlib.sha256(body).hexdigest()
        sent = {"host": urlsplit(self.url).netloc, "x-amz-content-sha256": digest, "x-amz-date": now}
        signed = ";".join(sent)
        request = [method, place, "", *(f"{name}:{value}" for name, value in sent.items()), "", signed, digest]
        scope = [now[:8], REGION, "s3", "aws4_request"]
        hashed = hashlib.sha256("\n".join(request).encode()).hexdigest()
        text = "\n".join(["AWS4-HMAC-SHA256", now, "/".join(scope), hashed])
        secret = f"AWS4{SECRET_KEY}".encode()
        for part in [*scope, text]:
            secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
        credential = "/".join([ACCESS_KEY, *scope])
        signature = f"Credential={credential}, SignedHeaders={signed}, Signature={secret.hex()}"
        return {**sent, "Authorization": f"AWS4-HMAC-SHA256 {signature}"}


@dataclass(frozen=True)
class AzureServer:
    """A running Azurite."""

    url: str
    pid: int
    scheme: str = "az"

    def new_bucket(self) -> str:
        """Make a container and return its name."""
        name = _new_name()
        self._put(name, "restype=container")
        return name

    def environment(self, url: str = "") -> Mapping[str, str]:
        """Return the variables that lead to the server, or to a proxy of it at `url`."""
        endpoint = f"BlobEndpoint={url or self.url}/{ACCOUNT}"
        return {"AZURE_STORAGE_CONNECTION_STRING": f"AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};{endpoint};"}

    def make_folder(self, bucket: str, key: str) -> None:
        """Make an empty object whose name ends with a slash, as the portal does."""
        self._put(f"{bucket}/{quote(key)}", headers={"x-ms-blob-type": "BlockBlob"})

    def _put(self, path: str, query: str = "", headers: Mapping[str, str] | None = None) -> None:
        """Send an empty PUT request, https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key."""
        sent = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": _API_VERSION, **(headers or {})}
        lines = ["PUT", *[""] * 11, *(f"{name}:{sent[name]}" for name in sorted(sent))]
        lines += [f"/{ACCOUNT}/{ACCOUNT}/{path}", *filter(None, [query.replace("=", ":")])]
        digest = hmac.new(base64.b64decode(ACCOUNT_KEY), "\n".join(lines).encode(), hashlib.sha256).digest()
        sent["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
        url = f"{self.url}/{ACCOUNT}/{path}?{query}"
        request = urllib.request.Request(url, b"", {"Content-Length": "0", "Content-Type": "", **sent}, method="PUT")
        with urllib.request.urlopen(request, timeout=10):
            pass


ObjectServer = S3Server | AzureServer


@contextlib.contextmanager
def running_s3(files: Files | None = None, *, install: bool = False, address: str = "127.0.0.1") -> Iterator[S3Server]:
    """Start an S3 server with an empty folder, and stop it at the end. `install` may take minutes.

    With `files`, it has a certificate.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="s3-") as folder:
        command = [
            _program("versitygw", install),
            "--port",
            f"{address}:{port}",
            "--region",
            REGION,
            "--quiet",
            "--keep-alive",
        ]
        keys = {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
        if files:
            command += ["--cert", str(files.certificate), "--key", str(files.key)]
        url = f"{'https' if files else 'http'}://{address}:{port}"
        with _running([*command, "posix", folder], url, keys) as pid:
            yield S3Server(url, Path(folder), pid)


@contextlib.contextmanager
def running_careless_s3(server: S3Server) -> Iterator[str]:
    """Yield the URL of a store that ignores conditions, as older ones do: a proxy removes them, and signs again."""

    def without_condition(request: Request) -> Request:
        if b"if-none-match:" not in request.head.lower():
            return request
        signed = server.signed(request.method, request.target, request.body)
        head = request.head
        for name in ("if-none-match", *signed):
            head = without(head, name.lower().encode())
        lines = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
        return replace(request, head=head[:-2] + lines.encode() + b"\r\n")

    with running_proxy(server.url, keep_host=True) as running:
        running.rewrite = without_condition
        yield running.url


@contextlib.contextmanager
def running_azure() -> Iterator[AzureServer]:
    """Start an Azure server that keeps everything in memory, and stop it at the end."""
    port = free_port()
    command = [
        shutil.which("node") or "node",
        _program("azurite", install=False),
        "--blobHost",
        "127.0.0.1",
        "--blobPort",
        str(port),
    ]
    command += ["--silent", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    url = f"http://127.0.0.1:{port}"
    with _running(command, url, {}) as pid:
        yield AzureServer(url, pid)


def _new_name() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


def _program(name: str, install: bool) -> str:
    """Return the path of a program. Without it, tests are skipped unless they `install` it."""
    command = [str(_INSTALLER), *([] if install else ["--no-install"])]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode == 0:
        return str(Path(result.stdout.strip(), name))
    reason = f"there is no {name}: {' '.join(result.stderr.split())[-300:]}"
    if install:
        raise RuntimeError(reason)
    return pytest.skip(reason)


@contextlib.contextmanager
def _running(command: list[str], url: str, variables: Mapping[str, str]) -> Iterator[int]:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **variables},
    )
    with ending(process):
        _await_answer(process, url)
        yield process.pid


def _await_answer(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5, context=ssl._create_unverified_context()):
                return
        except urllib.error.HTTPError:
            return  # it wants credentials
        except OSError:
            if process.poll() is not None:
                raise RuntimeError(f"{process.args!r} ended with {process.returncode}") from None
            if time.monotonic() > deadline:
                raise RuntimeError(f"{process.args!r} did not answer within {_START_TIMEOUT_S} s") from None
            time.sleep(0.02)
