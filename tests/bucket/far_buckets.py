"""Buckets over a network, of every kind, and a bad network in front of their servers."""

from contextlib import AbstractContextManager

import pytest

from tests.support.fault_proxy import FaultProxy, Faults, running_proxy
from tests.support.gcs_emulator import Emulator
from tests.support.object_servers import ObjectServer
from tuner.bucket import Bucket
from tuner.bucket.gcs import GcsBucket, connect
from tuner.bucket.object_services import service_of
from tuner.bucket.object_store import ObjectStoreBucket

FarServer = Emulator | ObjectServer


def bucket_of(server: FarServer, name: str, prefix: str = "", **limits: float) -> Bucket:
    """Return a bucket of the server to which the environment leads."""
    if server.scheme == "gs":
        return GcsBucket(connect(), name, prefix, **limits)
    return ObjectStoreBucket(service_of(server.scheme, name), prefix, **limits)


def lead(monkeypatch: pytest.MonkeyPatch, server: FarServer, url: str = "") -> None:
    """Let the environment lead to the server, or to a proxy of it."""
    for variable, value in server.environment(url).items():
        monkeypatch.setenv(variable, value)


def proxy_of(server: FarServer, faults: Faults) -> AbstractContextManager[FaultProxy]:
    """Run a bad network to the server. The signatures of S3 and Azure contain its address."""
    return running_proxy(server.url, faults, keep_host=server.scheme != "gs")
