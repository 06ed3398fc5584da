"""Connections that the chief's TLS refused, logged as sentences: grpc prints only OpenSSL's codes to standard error.

grpc's core refuses a connection before any Python code runs, and has no hook for it. The chief's log should say what to
do.
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

REPEAT_S = 60.0
"""Seconds in which the same sentence is logged only once: a refused client retries for ever."""

_HANDSHAKE = re.compile(rb"Handshake failed with error SSL_ERROR_\w+: error:[0-9a-f]+:[^:]*:[^:]*:(\w+)(?:: (.*))?")


@contextlib.contextmanager
def logged_refusals(files: Files) -> Iterator[None]:
    """Log refused connections; everything else that is written to standard error passes through."""
    real = os.dup(2)
    pipe, end = os.pipe()
    os.dup2(end, 2)
    os.close(end)
    reader = threading.Thread(target=_read, args=(pipe, real, files), name="refusals", daemon=True)
    reader.start()
    try:
        yield
    finally:
        os.dup2(real, 2)  # the pipe's last writer: the reader ends
        reader.join(1.0)
        os.close(real)


def sentence(line: bytes, files: Files) -> str | None:
    """Return a sentence about the refused connection that a line of grpc's reports; None for any other line."""
    handshake = _HANDSHAKE.search(line)
    if handshake is None:
        return None
    reason, detail = handshake[1].decode(), (handshake[2] or b"").decode(errors="replace").strip()
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
                f"a TLS handshake failed ({reason}); check that the client trusts the authority of "
                f"{files.certificate}, and that the certificate is for the name that the client connects to."
            )


def _read(pipe: int, real: int, files: Files) -> None:
    logged_at: dict[str, float] = {}
    with open(pipe, "rb") as lines:
        for line in lines:
            text = sentence(line, files)
            if text is None:
                os.write(real, line)
            elif time.monotonic() - logged_at.get(text, -REPEAT_S) >= REPEAT_S:
                logged_at[text] = time.monotonic()
                log.warning("%s", text)
