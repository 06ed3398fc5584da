"""A proxy that makes an HTTP server (the bucket's emulator) slow and unreliable, reproducibly.

`python -m tests.support.fault_proxy --target http://127.0.0.1:4443 --port 4444 --latency-ms 50` prints its URL and runs
until it is stopped. In tests: `with running_proxy(emulator.url, Faults(unavailable=0.1)) as proxy: …`.

Every request is read whole, given a fault, and (unless the fault forbids) sent on over a connection of its own. The
answer is passed on as it comes, except that the target's address in its head becomes the proxy's, so that the
sessions of resumable uploads go through the proxy too.
"""

import argparse
import asyncio
import contextlib
import random
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from enum import Enum
from urllib.parse import urlsplit

_HEAD_LIMIT = 1 << 16


class Fault(Enum):
    """What happens to one request."""

    NONE = "none"
    UNAVAILABLE = "unavailable"  # 503, and the target never sees the request
    TOO_MANY = "too_many"  # 429, and the target never sees the request
    FULL = "full"  # 507 for the upload of a model, and the target never sees the request: small objects still fit
    CUT_BEFORE = "cut_before"  # the connection is cut, and the target never sees the request
    CUT_AFTER = "cut_after"  # the target has done what was asked, and its answer is lost
    DAMAGED = "damaged"  # the last byte of the answer is another one
    STALL = "stall"  # nothing happens for `stall_s`, then the connection is cut


@dataclass(frozen=True)
class Faults:
    """How bad the network is: shares (0 to 1) of requests that meet each fault, drawn with `seed`."""

    seed: int = 0
    latency_s: float = 0.0
    stall_s: float = 30.0
    unavailable: float = 0.0
    too_many: float = 0.0
    full: float = 0.0
    cut_before: float = 0.0
    cut_after: float = 0.0
    damaged: float = 0.0
    stall: float = 0.0


@dataclass(frozen=True)
class Request:
    """One HTTP request, whole."""

    method: str
    target: str
    head: bytes
    body: bytes


@dataclass
class FaultProxy:
    """The proxy; `url` is known once `start` has returned. `faults` may be replaced while it runs.

    `script` comes first: the faults of the next requests whose method is in `scripted_methods`, in order.
    `observer` is told, in the proxy's thread, of every request that the target answered, and of the status: before the
    sender is, and also where the answer is lost on the way. `rewrite` changes what the target receives.
    """

    target: str
    faults: Faults = field(default_factory=Faults)
    script: deque[Fault] = field(default_factory=deque)
    scripted_methods: frozenset[str] = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
    met: Counter[Fault] = field(default_factory=Counter)
    observer: Callable[[Request, int], None] = lambda request, status: None
    rewrite: Callable[[Request], Request] = lambda request: request
    cut_after_bytes: int = 0
    """Length at which the next longer answer is cut; then it is 0 again."""
    keep_host: bool = False
    """Whether the target is told the proxy's address, which S3's signatures contain, instead of its own."""
    url: str = ""

    def __post_init__(self) -> None:
        self._random = random.Random(self.faults.seed)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> asyncio.Server:
        """Listen on `port` (0: a free one)."""
        server = await asyncio.start_server(self._serve, host, port, limit=_HEAD_LIMIT)
        self.url = f"http://{host}:{server.sockets[0].getsockname()[1]}"
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._answer_one(reader, writer):
                    pass
        finally:  # also when the proxy is stopped
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; say whether the connection can take another."""
        request = await _read_request(reader)
        fault = self._choose(request)
        self.met[fault] += 1
        await asyncio.sleep(self.faults.latency_s)
        match fault:
            case Fault.NONE | Fault.DAMAGED:
                return await self._pass_on(request, writer, damaged=fault is Fault.DAMAGED)
            case Fault.UNAVAILABLE:
                return await _refuse(writer, "503 Service Unavailable")
            case Fault.TOO_MANY:
                return await _refuse(writer, "429 Too Many Requests")
            case Fault.FULL:
                return await _refuse(writer, "507 Insufficient Storage")
            case Fault.CUT_AFTER:
                await self._pass_on(request, None)
            case Fault.STALL:
                await asyncio.sleep(self.faults.stall_s)
            case Fault.CUT_BEFORE:
                pass
        writer.transport.abort()
        return False

    def _choose(self, request: Request) -> Fault:
        if self.script and request.method in self.scripted_methods:
            return self.script.popleft()
        draw = self._random.random()
        for fault in Fault:
            does_not_apply = fault is Fault.NONE or (fault is Fault.FULL and not _is_upload_of_model(request))
            share: float = 0.0 if does_not_apply else getattr(self.faults, fault.value)
            if draw < share:
                return fault
            draw -= share
        return Fault.NONE

    async def _pass_on(self, request: Request, writer: asyncio.StreamWriter | None, *, damaged: bool = False) -> bool:
        """Send the request on and its answer back; with no `writer`, the answer is read and lost."""
        request = self.rewrite(request)
        target = urlsplit(self.target)
        theirs, ours = target.netloc.encode(), urlsplit(self.url).netloc.encode()
        if self.keep_host:
            ours = theirs
        upstream, sending = await asyncio.open_connection(target.hostname, target.port or 80)
        try:
            sending.write(_closing(request.head.replace(ours, theirs)) + request.body)
            await sending.drain()
            head = await upstream.readuntil(b"\r\n\r\n")
            self.observer(request, int(head.split(b" ", 2)[1]))
            framed = any(key in head.lower() for key in (b"content-length:", b"transfer-encoding:"))
            if writer:
                writer.write(without(head, b"connection").replace(theirs, ours))
            sent = 0
            while part := await upstream.read(-1 if damaged else 1 << 18):
                sent += len(part)
                if writer and 0 < self.cut_after_bytes < sent:
                    self.cut_after_bytes = 0
                    writer.close()
                    return False
                if damaged:
                    part = part[:-1] + bytes([part[-1] ^ 1])
                if writer:
                    writer.write(part)
                    await writer.drain()
            return framed or request.method == "HEAD" or b" 204 " in head.split(b"\r\n")[0]
        finally:
            sending.close()


@contextlib.contextmanager
def running_proxy(target: str, faults: Faults | None = None, *, keep_host: bool = False) -> Iterator[FaultProxy]:
    """Run a proxy in front of `target` (http://host:port) in a thread of its own."""
    proxy = FaultProxy(target, faults or Faults(), keep_host=keep_host)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fault-proxy", daemon=True)
    thread.start()
    try:
        server = asyncio.run_coroutine_threadsafe(proxy.start(), loop).result(timeout=10)
        try:
            yield proxy
        finally:
            asyncio.run_coroutine_threadsafe(_stop(server), loop).result(timeout=10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()


async def _stop(server: asyncio.Server) -> None:
    server.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)  # the turn of the loop in which closed transports let go of their sockets


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = await reader.readuntil(b"\r\n\r\n")
    method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    headers = _headers(head)
    if "chunked" in headers.get("transfer-encoding", ""):
        body = await _read_chunked(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, head, body)


def _is_upload_of_model(request: Request) -> bool:
    return request.method in ("POST", "PUT") and b".keras" in request.target.encode() + request.body[:1000]


async def _read_chunked(reader: asyncio.StreamReader) -> bytes:
    """Return the chunks as they came, framing and all."""
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        body += line + await reader.readexactly(size + 2)
        if size == 0:
            return body


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return {key.strip().lower(): value.strip().lower() for key, _, value in pairs}


def without(head: bytes, header: bytes) -> bytes:
    """Return a request's head without the header, which is given in lower case."""
    return b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(header + b":"))


def _closing(head: bytes) -> bytes:
    """The same head, asking the target to close the connection, so that the end of its answer is seen."""
    return without(head, b"connection")[:-2] + b"Connection: close\r\n\r\n"


async def _refuse(writer: asyncio.StreamWriter, status: str) -> bool:
    body = b'{"error": {"message": "a fault of the proxy"}}'
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    return True


async def _main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.fault_proxy")
    parser.add_argument("--target", required=True, help="http://host:port")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen; default %(default)s")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--keep-host", action="store_true", help="for S3, whose signatures contain the host")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="added to every request")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stall-s", type=float, default=30.0, help="how long a stalled request hangs")
    for share in fields(Faults):
        if share.name in {fault.value for fault in Fault}:
            flag = f"--{share.name.replace('_', '-')}"
            parser.add_argument(flag, type=float, default=0.0, help="share of requests, 0 to 1")
    options = vars(parser.parse_args(arguments))
    target, host, port = options.pop("target"), options.pop("host"), options.pop("port")
    keep_host = options.pop("keep_host")
    faults = Faults(latency_s=options.pop("latency_ms") / 1000, **options)
    proxy = FaultProxy(target, faults, keep_host=keep_host)
    server = await proxy.start(host, port)
    print(proxy.url, flush=True)  # noqa: T201
    await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(sys.argv[1:]))
