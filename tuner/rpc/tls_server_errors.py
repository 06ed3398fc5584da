"""Logs a sentence for each connection that the chief's TLS refuses. grpc prints only OpenSSL's codes to standard error.

grpc's core refuses a connection before any Python code runs, and has no hook for this. Each sentence states what to do.
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
"""Seconds in which the same sentence is logged only once, because a refused client retries forever."""

_HANDSHAKE = re.compile(rb"Handshake failed with error SSL_ERROR_\w+: error:[0-9a-f]+:[^:]*:[^:]*:(\w+)(?:: (.*))?")


@contextlib.contextmanager
def logged_refusals(files: Files) -> Iterator[None]:
    """Log refused connections. All other output to standard error passes through."""
    real = os.dup(2)
    pipe, end = os.pipe()
    os.dup2(end, 2)
    os.close(end)
    reader = threading.Thread(target=_read, args=(pipe, real, files), name="refusals", daemon=True)
    reader.start()
    try:
        yield
    finally:
        os.dup2(real, 2)  # closes the pipe's last writer, so that the reader ends
        reader.join(1.0)
        os.close(real)


def sentence(line: bytes, files: Files) -> str | None:
    """Return a sentence about the refused connection that a line of grpc's output reports; None for other lines."""
    handshake = _HANDSHAKE.search(line)
    if handshake is None:
        return None
    reason, detail = handshake[1].decode(), (handshake[2] or b"").decode(errors="replace").strip()
    match reason:
        case "PEER_DID_NOT_RETURN_A_CERTIFICATE":
            return (
                f"a client without a certificate was refused. Set its {names.ENV_TLS_CERT} and {names.ENV_TLS_KEY} to "
                f"a certificate that is signed by the authority in {files.authority}, and to the certificate's key."
            )
        case "CERTIFICATE_VERIFY_FAILED":
            return (
                f"a client's certificate was refused ({detail}). Use a certificate that is valid today and signed by "
                f"the authority in {files.authority}."
            )
        case "WRONG_VERSION_NUMBER" | "HTTP_REQUEST":
            return (
                f"a client that does not speak TLS was refused. Set {names.ENV_TLS_CERT}, {names.ENV_TLS_KEY} and "
                f"{names.ENV_TLS_CA} for this client."
            )
        case _:
            return (
                f"a TLS handshake failed ({reason}). Check that the client trusts the authority of "
                f"{files.certificate}, and that this certificate is for the name to which the client connects."
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
