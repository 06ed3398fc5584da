"""Whom the chief's TLS refused, as sentences: grpc tells it only on standard error, in OpenSSL's words.

grpc's core refuses a connection before any Python of ours sees it, and has no hook for it; a person who looks at
the chief's log should read what to do.
"""

import contextlib
import logging
import os
import re
import threading
import time
from collections.abc import Iterator

from tuner import names
from tuner.rpc.tls import Files

log = logging.getLogger(__name__)

AGAIN_S = 60.0
"""The same sentence is not said again for so long: a client that is refused tries again, for ever."""

_HANDSHAKE = re.compile(rb"Handshake failed with error SSL_ERROR_\w+: error:[0-9a-f]+:[^:]*:[^:]*:(\w+)(?:: (.*))?")


@contextlib.contextmanager
def told(files: Files) -> Iterator[None]:
    """Log refused connections; everything else that is written to standard error goes on to it."""
    real = os.dup(2)
    pipe, end = os.pipe()
    os.dup2(end, 2)
    os.close(end)
    reader = threading.Thread(target=_read, args=(pipe, real, files), name="refusals", daemon=True)
    reader.start()
    try:
        yield
    finally:
        os.dup2(real, 2)  # the pipe's last writer: the reader comes to its end
        reader.join(1.0)
        os.close(real)


def sentence(line: bytes, files: Files) -> str | None:
    """Return what a line of grpc's says of a refused connection; None where it is about something else."""
    found = _HANDSHAKE.search(line)
    if found is None:
        return None
    reason, detail = found[1].decode(), (found[2] or b"").decode(errors="replace").strip()
    match reason:
        case "PEER_DID_NOT_RETURN_A_CERTIFICATE":
            return (
                f"a client without a certificate was refused; give it {names.ENV_TLS_CERT} and {names.ENV_TLS_KEY}, "
                f"signed by the authority in {files.authority}."
            )
        case "CERTIFICATE_VERIFY_FAILED":
            return (
                f"a client's certificate was refused ({detail}); it must be signed by the authority in "
                f"{files.authority}, and valid today."
            )
        case "WRONG_VERSION_NUMBER" | "HTTP_REQUEST":
            return (
                f"a client that does not speak TLS was refused; set {names.ENV_TLS_CERT}, {names.ENV_TLS_KEY} and "
                f"{names.ENV_TLS_CA} for it."
            )
        case _:
            return (
                f"a connection was broken off in its TLS handshake ({reason}); does the client trust the authority of "
                f"{files.certificate}, and is the certificate for the name that it calls?"
            )


def _read(pipe: int, real: int, files: Files) -> None:
    said: dict[str, float] = {}
    with open(pipe, "rb") as lines:
        for line in lines:
            text = sentence(line, files)
            if text is None:
                os.write(real, line)
            elif time.monotonic() - said.get(text, -AGAIN_S) >= AGAIN_S:
                said[text] = time.monotonic()
                log.warning("%s", text)
