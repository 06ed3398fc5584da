"""What the bucket really did, as the fault proxy in front of it saw."""

import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from tests.chaos.evidence import Change, ObjectEvent
from tests.support.fault_proxy import Request

_UPLOAD = re.compile(r"/upload/storage/v1/b/[^/]+/o")
_OBJECT = re.compile(r"/storage/v1/b/[^/]+/o/([^/]+)")
_S3_OBJECT = re.compile(r"/test-[0-9a-f]+/(.+)")  # in a bucket of tests/support/object_servers.py
_S3_CHANGES = {"PUT": Change.STORED, "DELETE": Change.DELETED}
_NAME = re.compile(rb'"name": ?"([^"]+)"')
_METADATA_BYTES = 4096


@dataclass
class BucketLog:
    """The observer of a FaultProxy. Knows uploads of one request: up to 8 MiB, which all of a chaos run are."""

    events: list[ObjectEvent] = field(default_factory=list)

    def __call__(self, request: Request, status: int) -> None:
        """Note what a request has changed."""
        if not 200 <= status < 300:
            return
        path = urlsplit(request.target).path
        if request.method == "POST" and _UPLOAD.fullmatch(path):
            name = _NAME.search(request.body[:_METADATA_BYTES])
            assert name is not None, "an upload without its name"
            self.events.append(ObjectEvent(Change.STORED, name[1].decode()))
        elif request.method == "DELETE" and (match := _OBJECT.fullmatch(path)):
            self.events.append(ObjectEvent(Change.DELETED, unquote(match[1])))
        elif request.method in _S3_CHANGES and (match := _S3_OBJECT.fullmatch(path)):
            self.events.append(ObjectEvent(_S3_CHANGES[request.method], unquote(match[1])))
