"""Why no connection to the chief comes about: tries its handshake with Python's own TLS, which tells reasons.

grpc says UNAVAILABLE of a chief that is not there, of one that refuses our certificate, and of one that speaks plain
text. The first is worth waiting for; the others are not, and only a person can mend them.
"""

import socket
import ssl
import time

from tuner import names
from tuner.errors import CifakeTuneError, ConfigError, EnvironmentFailure
from tuner.rpc.tls import Files

TIMEOUT_S = 3.0
CONFIRM_S = 1.0
"""A chief that is just ending also closes a connection without a word: it is tried again after so long."""
LISTENING_POLL_S = 0.2

_HOSTNAME_MISMATCH = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_EXPIRED = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_ALL = f"{names.ENV_TLS_CERT}, {names.ENV_TLS_KEY} and {names.ENV_TLS_CA}"


def trouble(address: str, files: Files | None) -> CifakeTuneError | None:
    """Return what stands between us and the chief at `host:port`; None where nobody answers, or nothing does.

    A ConfigError will not go away by itself; a EnvironmentFailure may, when a certificate is renewed.
    """
    return _encrypted_only(address) if files is None else _refused(address, files)


def await_listening(address: str, timeout_s: float) -> None:
    """Wait until somebody listens at `host:port`, or the time is over.

    grpc, asked to connect too early, tries again after up to 3 s: as long as a small trial takes.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            _connect(address).close()
        except OSError:
            time.sleep(LISTENING_POLL_S)
        else:
            return


def _encrypted_only(address: str) -> CifakeTuneError | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent: the question is only whether it speaks TLS
    try:
        with _connect(address) as plain, context.wrap_socket(plain):
            return ConfigError(f"the chief at {address} speaks TLS only; set {_ALL} for this process too.")
    except OSError:
        return None


def _refused(address: str, files: Files) -> CifakeTuneError | None:
    closed = _greeting(address, files)
    if closed == b"":
        time.sleep(CONFIRM_S)
        closed = _greeting(address, files)
    if closed == b"":
        return EnvironmentFailure(
            f"the chief at {address} refuses our certificate {files.certificate}; it must be signed by the authority "
            f"in the chief's {names.ENV_TLS_CA}, and valid today."
        )
    return closed if isinstance(closed, CifakeTuneError) else None


def _greeting(address: str, files: Files) -> bytes | CifakeTuneError | None:
    """Return the first byte that the chief says, none where it closes the connection, or what stops the handshake."""
    try:
        context = ssl.create_default_context(cafile=str(files.authority))
        files.load_into(context)
        context.set_alpn_protocols(["h2"])
        name = files.name or _host(address)
        with _connect(address) as plain, context.wrap_socket(plain, server_hostname=name) as encrypted:
            return _first_byte(encrypted)
    except ConfigError as error:
        return error
    except ssl.SSLCertVerificationError as error:
        return _unverified(address, files, error)
    except ssl.SSLError as error:
        if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL"):
            return ConfigError(
                f"the chief at {address} does not speak TLS; set {_ALL} for the chief too, or unset them here."
            )
        return None
    except OSError:
        return None


def _first_byte(encrypted: ssl.SSLSocket) -> bytes | None:
    try:
        return encrypted.recv(1)
    except (ssl.SSLError, ConnectionResetError):
        return b""  # TLS 1.3 tells of a refused certificate after the handshake
    except OSError:
        return None


def _unverified(address: str, files: Files, error: ssl.SSLCertVerificationError) -> CifakeTuneError:
    if error.verify_code in _HOSTNAME_MISMATCH:
        return ConfigError(
            f"the certificate of the chief at {address} is for another name ({error.verify_message}); set "
            f"{names.ENV_TLS_NAME} to the name in it, or issue one for this."
        )
    if error.verify_code in _EXPIRED:
        return EnvironmentFailure(
            f"the certificate of the chief at {address} is not valid today ({error.verify_message}); renew it: the "
            "chief takes up the new file by itself."
        )
    return EnvironmentFailure(
        f"the certificate of the chief at {address} is not signed by the authority in {files.authority} "
        f"({error.verify_message}); give both processes certificates of one authority."
    )


def _connect(address: str) -> socket.socket:
    return socket.create_connection((_host(address), int(address.rpartition(":")[2])), TIMEOUT_S)


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")
