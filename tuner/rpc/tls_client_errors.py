"""Finds out why a connection to the chief fails, by a handshake with Python's own TLS, whose errors have reasons.

grpc reports UNAVAILABLE if the chief is absent, if it refuses the certificate, and if it uses plain text. Waiting helps
only if the chief is absent. A user must fix the other two problems.
"""

import socket
import ssl
import time
from collections.abc import Callable

from tuner import names
from tuner.errors import CifakeTuneError, ConfigError, EnvironmentFailure
from tuner.rpc.tls import Files

TIMEOUT_S = 3.0
CONFIRM_S = 1.0
"""Seconds before a second try, because a chief that is ending also closes connections without a TLS alert."""
LISTENING_POLL_S = 0.2

_HOSTNAME_MISMATCH = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_EXPIRED = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_ALL = f"{names.ENV_TLS_CERT}, {names.ENV_TLS_KEY} and {names.ENV_TLS_CA}"


def connection_problem(address: str, files: Files | None) -> CifakeTuneError | None:
    """Return what prevents TLS with the chief at `host:port`; None if no process listens, or if nothing prevents it.

    Only a user can fix a ConfigError. An EnvironmentFailure may disappear when a certificate is renewed.
    """
    return _encrypted_only(address) if files is None else _refused(address, files)


def await_listening(address: str, timeout_s: float, report: Callable[[str], None]) -> None:
    """Wait until a process listens at `host:port`, or until the timeout.

    If grpc connects too early, it waits up to 3 s before it retries, which is as long as a small trial takes.

    Args:
        address: Address of the process, as `host:port`.
        timeout_s: Seconds after which the function returns even if no process listens.
        report: Called with the reason after each attempt to connect that fails.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            _connect(address).close()
        except OSError as error:
            report(error.strerror or str(error))
            time.sleep(LISTENING_POLL_S)
        else:
            return


def _encrypted_only(address: str) -> CifakeTuneError | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # no data is sent; only whether the chief speaks TLS matters
    try:
        with _connect(address) as plain, context.wrap_socket(plain):
            return ConfigError(f"the chief at {address} requires TLS. Set {_ALL} for this process too.")
    except OSError:
        return None


def _refused(address: str, files: Files) -> CifakeTuneError | None:
    closed = _first_answer(address, files)
    if closed == b"":
        time.sleep(CONFIRM_S)
        closed = _first_answer(address, files)
    if closed == b"":
        return EnvironmentFailure(
            f"the chief at {address} refuses the certificate {files.certificate}. Use a certificate that is valid "
            f"today and signed by the authority in the chief's {names.ENV_TLS_CA}."
        )
    return closed if isinstance(closed, CifakeTuneError) else None


def _first_answer(address: str, files: Files) -> bytes | CifakeTuneError | None:
    """Return the chief's first byte, b"" if it closes the connection, the handshake's error, or None otherwise."""
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
                f"the chief at {address} does not speak TLS. Set {_ALL} for the chief too, or unset them here."
            )
        return None
    except OSError:
        return None


def _first_byte(encrypted: ssl.SSLSocket) -> bytes | None:
    try:
        return encrypted.recv(1)
    except (ssl.SSLError, ConnectionResetError):
        return b""  # TLS 1.3 reports a refused certificate after the handshake
    except OSError:
        return None


def _unverified(address: str, files: Files, error: ssl.SSLCertVerificationError) -> CifakeTuneError:
    if error.verify_code in _HOSTNAME_MISMATCH:
        return ConfigError(
            f"the certificate of the chief at {address} is for another name ({error.verify_message}). Set "
            f"{names.ENV_TLS_NAME} to the name in the certificate, or issue a certificate for this address."
        )
    if error.verify_code in _EXPIRED:
        return EnvironmentFailure(
            f"the certificate of the chief at {address} is not valid today ({error.verify_message}). Renew the "
            "certificate; the chief reads the new file without a restart."
        )
    return EnvironmentFailure(
        f"the certificate of the chief at {address} is not signed by the authority in {files.authority} "
        f"({error.verify_message}). Give both processes certificates of the same authority."
    )


def _connect(address: str) -> socket.socket:
    return socket.create_connection((_host(address), int(address.rpartition(":")[2])), TIMEOUT_S)


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")
