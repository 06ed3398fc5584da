"""A server's certificate and its private key, which are read again when their files change."""

import logging
import os
import ssl
import threading
from collections.abc import Iterable
from pathlib import Path

from tuner.errors import ConfigError

log = logging.getLogger(__name__)

Stamp = tuple[tuple[int, int, int], ...]


class ServerCertificate:
    """The certificate of an https server.

    `variables` are the environment variables of the two paths, for messages. Raises ConfigError if the files cannot be
    used.
    """

    def __init__(self, certificate: Path, key: Path, variables: tuple[str, str]) -> None:
        self._files = certificate, key
        self._variables = variables
        self._lock = threading.Lock()
        self._stamp = stamp_of(self._files)
        self._context = self._load()

    def context(self) -> ssl.SSLContext:
        """Return the TLS context of the next connection, with the newest pair of files that can be used."""
        with self._lock:
            stamp = stamp_of(self._files)
            if stamp not in (None, self._stamp):
                try:
                    context = self._load()
                except ConfigError as error:
                    log.warning("the renewed certificate cannot be used, so the previous one stays in use: %s", error)
                    self._stamp = stamp
                else:
                    if stamp_of(self._files) == stamp:  # otherwise a file was replaced meanwhile
                        self._context, self._stamp = context, stamp
            return self._context

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # TLS 1.2 or newer
        for path in self._files:
            read_pem(path)
        load_pair(context, *self._files, self._variables)
        return context


def read_pem(path: Path) -> bytes:
    """Return the content of a file. Raises ConfigError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: the TLS file cannot be read ({error.strerror or error}). Check its path and permissions."
        ) from None


def load_pair(context: ssl.SSLContext, certificate: Path, key: Path, variables: tuple[str, str]) -> None:
    """Load a certificate and its key into Python's own TLS. Raises ConfigError if they cannot be used together."""
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(
                f"{key}: the file is not the key of the certificate {certificate}. "
                f"Set {variables[0]} and {variables[1]} to a matching pair."
            ) from None
        wrong, content = key, "private key without a passphrase (-----BEGIN PRIVATE KEY-----)"
        if not is_certificate(certificate):
            wrong, content = certificate, "certificate (-----BEGIN CERTIFICATE-----)"
        raise ConfigError(f"{wrong}: the file must be a PEM {content}.") from None
    except OSError as error:
        raise ConfigError(
            f"{key}: the TLS file cannot be read ({error.strerror or error}). Check its path and permissions."
        ) from None


def is_certificate(path: Path) -> bool:
    """Return whether a file contains certificates in PEM format. Raises ConfigError if it cannot be read."""
    pem = read_pem(path).decode("ascii", "ignore")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError):
        return False
    return True


def stamp_of(paths: Iterable[Path]) -> Stamp | None:
    """Return a value that changes when a file is replaced; None while a file is missing."""
    try:
        stats = [os.stat(path) for path in paths]
    except OSError:
        return None
    return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)


def _no_passphrase() -> str:
    return ""  # without this, OpenSSL prompts at the terminal
