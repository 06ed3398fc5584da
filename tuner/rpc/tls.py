"""Mutual TLS between the chief and those who call it: the files, the server's credentials, the caller's channel.

Files that are renewed on disk are picked up without a restart. The chief asks for them at each new connection
(grpc's dynamic server credentials). A grpc channel keeps its credentials for good, so a caller opens a new one for its
next call when the files have changed; calls under way end on the old one.
"""

import logging
import os
import ssl
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from tuner import names
from tuner.errors import ConfigError

log = logging.getLogger(__name__)

Options = Sequence[tuple[str, Any]]
"""Settings of a channel, as grpc takes them."""


@dataclass(frozen=True)
class Files:
    """Where our certificate, its key, and the certificate of the authority that signs the others' lie."""

    certificate: Path
    key: Path
    authority: Path
    name: str | None = None
    """What a caller expects the chief's certificate to be for; None: the host that it calls."""

    @classmethod
    def given(cls, environment: Mapping[str, str]) -> "Files | None":
        """Return the files that the environment names; None where it names none: then nothing is encrypted.

        Raises ConfigError where it names some only, and where one is missing or no PEM.
        """
        variables = (names.ENV_TLS_CERT, names.ENV_TLS_KEY, names.ENV_TLS_CA)
        missing = [variable for variable in variables if not environment.get(variable)]
        if len(missing) == len(variables):
            return None
        if missing:
            given = [variable for variable in variables if variable not in missing]
            raise ConfigError(f"{' and '.join(given)} without {' and '.join(missing)}: set all three for TLS, or none.")
        certificate, key, authority = (Path(environment[variable]) for variable in variables)
        files = cls(certificate, key, authority, environment.get(names.ENV_TLS_NAME) or None)
        files.read()
        return files

    def read(self) -> "Pems":
        """Return their content. Raises ConfigError where one cannot be used, with its path and the reason."""
        pems = Pems(*(_read(path) for path in (self.certificate, self.key, self.authority)))
        for path, pem in ((self.certificate, pems.certificate), (self.authority, pems.authority)):
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode("ascii", "ignore"))
            except (ssl.SSLError, ValueError):
                raise ConfigError(f"{path}: is no certificate in PEM form (-----BEGIN CERTIFICATE-----).") from None
        self.load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        return pems

    def load_into(self, context: ssl.SSLContext) -> None:
        """Let Python's own TLS show our certificate. Raises ConfigError where the key does not suit."""
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_passphrase)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise ConfigError(f"{self.key}: is not the key of the certificate {self.certificate}.") from None
            raise ConfigError(
                f"{self.key}: is no private key in PEM form without a passphrase (-----BEGIN PRIVATE KEY-----)."
            ) from None
        except OSError as error:
            raise ConfigError(f"{self.key}: cannot be read ({error.strerror or error}).") from None

    def stamp(self) -> tuple[tuple[int, int, int], ...] | None:
        """Return what differs when a file was replaced; None while one is missing."""
        try:
            found = [os.stat(path) for path in (self.certificate, self.key, self.authority)]
        except OSError:
            return None
        return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in found)


@dataclass(frozen=True)
class Pems:
    """What lies in the files."""

    certificate: bytes
    key: bytes
    authority: bytes


class _Renewed:
    """The newest usable content of the files; those that are replaced one after the other are taken when they suit."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._seen = files.stamp()
        self.pems = files.read()

    def renew(self) -> bool:
        """Look at the files, and return whether there is something new."""
        with self._lock:
            stamp = self._files.stamp()
            if stamp == self._seen:
                return False
            try:
                pems = self._files.read()
            except ConfigError as error:
                log.warning("the certificate was renewed but cannot be used, the one before stays: %s", error)
                self._seen = stamp
                return False
            if self._files.stamp() != stamp:
                return False  # replaced while we read; the next call sees the rest
            self._seen = stamp
            changed, self.pems = pems != self.pems, pems
            return changed


def server_credentials(files: Files) -> Any:
    """Return grpc's credentials for the chief: whoever has no certificate of the authority is refused."""
    renewed = _Renewed(files)

    def configuration() -> Any:
        pems = renewed.pems
        return grpc.ssl_server_certificate_configuration([(pems.key, pems.certificate)], pems.authority)

    return grpc.dynamic_ssl_server_credentials(
        configuration(), lambda: configuration() if renewed.renew() else None, require_client_authentication=True
    )


def open_channel(address: str, files: Files | None, options: Options) -> Any:
    """Return a channel to `host:port`, encrypted where there are files; grpc connects at the first call."""
    return grpc.insecure_channel(address, options) if files is None else _Channel(address, files, options)


class _Channel(grpc.Channel):
    """A channel that is another one after the files have changed. For calls of one request and one answer."""

    def __init__(self, address: str, files: Files, options: Options) -> None:
        self._address = address
        self._renewed = _Renewed(files)
        name = [("grpc.ssl_target_name_override", files.name)] if files.name else []
        self._options = [*options, *name]
        self._channel = self._open()

    def _open(self) -> Any:
        pems = self._renewed.pems
        credentials = grpc.ssl_channel_credentials(pems.authority, pems.key, pems.certificate)
        return grpc.secure_channel(self._address, credentials, self._options)

    def current(self) -> Any:
        """Return the channel for the next call."""
        if self._renewed.renew():
            log.info("the certificate was renewed: a new connection to the chief is opened with it")
            self._channel = self._open()  # the old one is not closed: calls under way hold it
        return self._channel

    def unary_unary(self, *method: Any, **how: Any) -> Any:
        """Return the method, of whichever channel is the current one when it is called."""
        return _Method(self, method, how)

    def unary_stream(self, *method: Any, **how: Any) -> Any:
        """Of the channel as it is now."""
        return self._channel.unary_stream(*method, **how)

    def stream_unary(self, *method: Any, **how: Any) -> Any:
        """Of the channel as it is now."""
        return self._channel.stream_unary(*method, **how)

    def stream_stream(self, *method: Any, **how: Any) -> Any:
        """Of the channel as it is now."""
        return self._channel.stream_stream(*method, **how)

    def subscribe(self, callback: Any, try_to_connect: Any = False) -> None:
        """Follow the channel as it is now."""
        self._channel.subscribe(callback, try_to_connect)

    def unsubscribe(self, callback: Any) -> None:
        """Follow it no more."""
        self._channel.unsubscribe(callback)

    def close(self) -> None:
        """Close the current channel."""
        self._channel.close()

    def __enter__(self) -> "_Channel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Method(grpc.UnaryUnaryMultiCallable):
    def __init__(self, channel: _Channel, method: tuple[Any, ...], how: Mapping[str, Any]) -> None:
        self._channel = channel
        self._method = method
        self._how = how

    def _current(self) -> Any:
        return self._channel.current().unary_unary(*self._method, **self._how)

    def __call__(self, *request: Any, **how: Any) -> Any:
        return self._current()(*request, **how)

    def with_call(self, *request: Any, **how: Any) -> Any:
        """Call, and return the answer with its metadata."""
        return self._current().with_call(*request, **how)

    def future(self, *request: Any, **how: Any) -> Any:
        """Call without waiting."""
        return self._current().future(*request, **how)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: the TLS file cannot be read ({error.strerror or error}).") from None


def _no_passphrase() -> str:
    return ""  # without this, OpenSSL asks at the terminal
