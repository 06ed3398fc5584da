"""Mutual TLS between the chief and its clients: the files, the server's credentials, the client's channel.

Files that are renewed on disk take effect without a restart. The chief checks them at each new connection (grpc's
dynamic server credentials). A grpc channel cannot change its credentials, so a client opens a new channel for its next
call when the files have changed. Pending calls finish on the old channel.
"""

import logging
import ssl
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from tuner import names
from tuner.errors import ConfigError
from tuner.monitoring.server_certificate import Stamp, is_certificate, load_pair, read_pem, stamp_of

log = logging.getLogger(__name__)

Options = Sequence[tuple[str, Any]]
"""Options of a channel, in grpc's format."""
_NO_PROXY = ("grpc.enable_http_proxy", 0)
"""The chief is on this machine or in this cluster. By default grpc connects through the proxy in http_proxy or
https_proxy, also to 127.0.0.1."""


@dataclass(frozen=True)
class Files:
    """Paths of this process's certificate, its key, and the authority that signs the other side's certificate."""

    certificate: Path
    key: Path
    authority: Path
    name: str | None = None
    """Name that a client expects in the chief's certificate. Default: the host to which the client connects."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Files | None":
        """Return the files that the environment names; None if it names none, which means that TLS is off.

        Raises ConfigError if the environment names only some of the files, or if a file is missing or not PEM.
        """
        variables = (names.ENV_TLS_CERT, names.ENV_TLS_KEY, names.ENV_TLS_CA)
        missing = [variable for variable in variables if not environment.get(variable)]
        if len(missing) == len(variables):
            return None
        if missing:
            present = [variable for variable in variables if variable not in missing]
            raise ConfigError(
                f"{' and '.join(present)} cannot be used without {' and '.join(missing)}. "
                "Set all three for TLS, or none of them."
            )
        certificate, key, authority = (Path(environment[variable]) for variable in variables)
        files = cls(certificate, key, authority, environment.get(names.ENV_TLS_NAME) or None)
        files.read()
        return files

    def read(self) -> "Pems":
        """Return the files' content. Raises ConfigError with the path and the reason if a file cannot be used."""
        pems = Pems(*(read_pem(path) for path in (self.certificate, self.key, self.authority)))
        for path in (self.certificate, self.authority):
            if not is_certificate(path):
                raise ConfigError(f"{path}: the file must be a PEM certificate (-----BEGIN CERTIFICATE-----).")
        self.load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        return pems

    def load_into(self, context: ssl.SSLContext) -> None:
        """Load the certificate and the key into Python's own TLS. Raises ConfigError if they do not match."""
        load_pair(context, self.certificate, self.key, (names.ENV_TLS_CERT, names.ENV_TLS_KEY))

    def stamp(self) -> Stamp | None:
        """Return a value that changes when a file is replaced; None while a file is missing."""
        return stamp_of((self.certificate, self.key, self.authority))


@dataclass(frozen=True)
class Pems:
    """Content of the files."""

    certificate: bytes
    key: bytes
    authority: bytes


class _NewestPems:
    """The newest usable content of the files. Files that are replaced one by one are used once they match."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._stamp = files.stamp()
        self.pems = files.read()

    def renew(self) -> bool:
        """Read the files if they have changed, and return whether their content is new."""
        with self._lock:
            stamp = self._files.stamp()
            if stamp == self._stamp:
                return False
            try:
                pems = self._files.read()
            except ConfigError as error:
                log.warning("the renewed certificate cannot be used, so the previous one stays in use: %s", error)
                self._stamp = stamp
                return False
            if self._files.stamp() != stamp:
                return False  # a file was replaced during the read; the next call reads it
            self._stamp = stamp
            changed, self.pems = pems != self.pems, pems
            return changed


def server_credentials(files: Files) -> Any:
    """Return grpc's credentials for the chief, which refuse clients without a certificate of the authority."""
    newest = _NewestPems(files)

    def configuration() -> Any:
        pems = newest.pems
        return grpc.ssl_server_certificate_configuration([(pems.key, pems.certificate)], pems.authority)

    return grpc.dynamic_ssl_server_credentials(
        configuration(), lambda: configuration() if newest.renew() else None, require_client_authentication=True
    )


def open_channel(address: str, files: Files | None, options: Options) -> Any:
    """Return a channel to `host:port`, encrypted if `files` are given. It connects directly, at the first call."""
    options = [*options, _NO_PROXY]
    return grpc.insecure_channel(address, options) if files is None else _Channel(address, files, options)


class _Channel(grpc.Channel):
    """A channel that reconnects after the files have changed, but only for calls with one request and one answer."""

    def __init__(self, address: str, files: Files, options: Options) -> None:
        self._address = address
        self._newest = _NewestPems(files)
        name = [("grpc.ssl_target_name_override", files.name)] if files.name else []
        self._options = [*options, *name]
        self._channel = self._open()

    def _open(self) -> Any:
        pems = self._newest.pems
        credentials = grpc.ssl_channel_credentials(pems.authority, pems.key, pems.certificate)
        return grpc.secure_channel(self._address, credentials, self._options)

    def current(self) -> Any:
        """Return the channel for the next call."""
        if self._newest.renew():
            log.info("the certificate was renewed, so a new connection to the chief is opened")
            self._channel = self._open()  # the old channel is not closed, because pending calls use it
        return self._channel

    def unary_unary(self, *method: Any, **options: Any) -> Any:
        """Return the method. Each call of it uses the channel that is current at that time."""
        return _Method(self, method, options)

    def unary_stream(self, *method: Any, **options: Any) -> Any:
        """Return the method of the current channel."""
        return self._channel.unary_stream(*method, **options)

    def stream_unary(self, *method: Any, **options: Any) -> Any:
        """Return the method of the current channel."""
        return self._channel.stream_unary(*method, **options)

    def stream_stream(self, *method: Any, **options: Any) -> Any:
        """Return the method of the current channel."""
        return self._channel.stream_stream(*method, **options)

    def subscribe(self, callback: Any, try_to_connect: Any = False) -> None:
        """Subscribe to the state of the current channel."""
        self._channel.subscribe(callback, try_to_connect)

    def unsubscribe(self, callback: Any) -> None:
        """Cancel a subscription."""
        self._channel.unsubscribe(callback)

    def close(self) -> None:
        """Close the current channel."""
        self._channel.close()

    def __enter__(self) -> "_Channel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Method(grpc.UnaryUnaryMultiCallable):
    def __init__(self, channel: _Channel, method: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        self._channel = channel
        self._method = method
        self._options = options

    def _current(self) -> Any:
        return self._channel.current().unary_unary(*self._method, **self._options)

    def __call__(self, *request: Any, **options: Any) -> Any:
        return self._current()(*request, **options)

    def with_call(self, *request: Any, **options: Any) -> Any:
        """Call, and return the answer with its metadata."""
        return self._current().with_call(*request, **options)

    def future(self, *request: Any, **options: Any) -> Any:
        """Call without waiting."""
        return self._current().future(*request, **options)
