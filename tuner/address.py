"""Addresses to listen on: parsed from text, or with a port reserved until the process listens."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tuner.errors import ConfigError, EnvironmentFailure


@dataclass(frozen=True)
class Address:
    """A host and a port to listen on; port 0 means any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def family(self) -> socket.AddressFamily:
        """IPv4 or IPv6."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    def refused(self, error: OSError) -> EnvironmentFailure:
        """Return the error for an address that cannot be listened on."""
        reason = error.strerror or error
        return EnvironmentFailure(f"cannot listen on {self} ({reason}); is the port in use, or no such host here?")


def parse_address(text: str, variable: str) -> Address:
    """Return the address in an environment variable's `host:port`. Raises ConfigError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"{variable} must be HOST:PORT, as 127.0.0.1:9090, not {text!r}.")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


@contextmanager
def reserved(address: Address) -> Iterator[Address]:
    """Yield the address with its port reserved: only sockets with SO_REUSEPORT, as gRPC's are, can still bind it.

    Raises EnvironmentFailure if the port is taken.
    """
    with socket.socket(address.family, socket.SOCK_STREAM) as reservation:
        try:
            if address.port:  # another `run` has SO_REUSEPORT, too, and would share the port
                with socket.socket(address.family, socket.SOCK_STREAM) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the last run's connections linger
                    probe.bind((address.host, address.port))
            reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            reservation.bind((address.host, address.port))
        except OSError as error:
            raise address.refused(error) from None
        yield Address(address.host, reservation.getsockname()[1])
