"""An environment whose proxy is dead, and a proxy that notes what it is asked for and refuses it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.http_server import QuietHandler, server_of, serving

DEAD = "http://127.0.0.1:9"
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")


def through(proxy: str) -> Mapping[str, str]:
    """Return the environment of a machine that reaches everything through a proxy."""
    variables = [*VARIABLES, *(variable.upper() for variable in VARIABLES)]
    return dict.fromkeys(variables, proxy) | {"no_proxy": "", "NO_PROXY": ""}


@dataclass
class NotingProxy:
    """A running proxy that refuses every request."""

    url: str = ""
    hosts: list[str] = field(default_factory=list)


@contextmanager
def running_noting_proxy() -> Iterator[NotingProxy]:
    """Run a proxy until the end of the block."""
    proxy = NotingProxy()

    class Handler(QuietHandler):
        def _refuse(self) -> None:
            proxy.hosts.append(self.path)
            self.send_error(403)

        do_CONNECT = do_GET = do_POST = do_PUT = do_HEAD = _refuse  # noqa: N815

    with serving(server_of(Handler)) as proxy.url:
        yield proxy
