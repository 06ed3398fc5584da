"""Parse addresses to listen on, and reserve their ports until the process listens."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tuner.errors import ConfigError, EnvironmentFailure


@dataclass(frozen=True)
class Address:
    """A host and a port to listen on. Port 0 stands for any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def family(self) -> socket.AddressFamily:
        """IPv4 or IPv6."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    def refused(self, error: OSError) -> EnvironmentFailure:
        """Return the error to raise if the process cannot listen on this address."""
        reason = error.strerror or error
        return EnvironmentFailure(
            f"cannot listen on {self} ({reason}). Choose a free port, and a host name or address of this machine."
        )


def parse_address(text: str, variable: str) -> Address:
    """Return the address that an environment variable contains as `host:port`. Raises ConfigError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"{variable} must be HOST:PORT, such as 127.0.0.1:9090, got {text!r}.")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


@contextmanager
def reserved(address: Address) -> Iterator[Address]:
    """Reserve the port and yield the address. If it has port 0, the yielded address has the reserved port.

    Until the end of the block, only sockets with SO_REUSEPORT, such as gRPC's, can bind the port. Raises
    EnvironmentFailure if the port is taken.
    """
    with socket.socket(address.family, socket.SOCK_STREAM) as reservation:
        try:
            # without the probe, this port could be shared with another `run`, which sets SO_REUSEPORT as well
            if address.port:
                with socket.socket(address.family, socket.SOCK_STREAM) as probe:
                    # closed connections of the previous run may still occupy the port
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((address.host, address.port))
            reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            reservation.bind((address.host, address.port))
        except OSError as error:
            raise address.refused(error) from None
        yield Address(address.host, reservation.getsockname()[1])
