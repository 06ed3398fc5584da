"""Where a process listens: an address, from text, or with a port that is held until it does."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tuner.errors import ConfigError, EnvironmentFailure


@dataclass(frozen=True)
class Address:
    """Where to listen; port 0 is any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def family(self) -> socket.AddressFamily:
        """IPv4 or IPv6."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    def refused(self, error: OSError) -> EnvironmentFailure:
        """Return the sentence for who may not listen here."""
        why = error.strerror or error
        return EnvironmentFailure(f"cannot listen on {self} ({why}); is the port in use, or no such host here?")


def parse_address(text: str, variable: str) -> Address:
    """Return the address that an environment variable says as `host:port`. Raises ConfigError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"{variable} must be HOST:PORT, as 127.0.0.1:9090, not {text!r}.")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


@contextmanager
def reserved(address: Address) -> Iterator[Address]:
    """Yield it, with a port that nobody else gets but who shares it with our socket, which never listens.

    Raises EnvironmentFailure where somebody has it.
    """
    with socket.socket(address.family, socket.SOCK_STREAM) as held:
        try:
            if address.port:  # another `run` would share it, too
                with socket.socket(address.family, socket.SOCK_STREAM) as alone:
                    alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of the last run fade away
                    alone.bind((address.host, address.port))
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind((address.host, address.port))
        except OSError as error:
            raise address.refused(error) from None
        yield Address(address.host, held.getsockname()[1])
