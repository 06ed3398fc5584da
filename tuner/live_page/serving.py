"""Serves the live page: on a port of its own, or on the port of the metrics if both have the same address."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from tuner import names
from tuner.address import Address, parse_address
from tuner.errors import ConfigError
from tuner.live_page.access import PageAccess, check_token
from tuner.live_page.routes import LivePage
from tuner.monitoring.endpoint import Monitor
from tuner.monitoring.http_server import Handler, HttpServer, plain
from tuner.monitoring.server_certificate import ServerCertificate

log = logging.getLogger(__name__)

_OPTIONS = (names.ENV_LIVE_PAGE_TOKEN, names.ENV_LIVE_PAGE_CERT, names.ENV_LIVE_PAGE_KEY)


@dataclass(frozen=True)
class PageServing:
    """How the live page is served."""

    address: Address
    access: PageAccess = field(default_factory=PageAccess)
    certificate: ServerCertificate | None = None
    is_shared: bool = False
    """Whether the metrics are served at the same address."""

    @property
    def scheme(self) -> str:
        """http or https."""
        return "https" if self.certificate else "http"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "PageServing | None":
        """Return how the environment asks to serve the page; None if it names no address.

        Raises ConfigError.
        """
        text = environment.get(names.ENV_LIVE_PAGE)
        if not text:
            if given := [variable for variable in _OPTIONS if environment.get(variable)]:
                raise ConfigError(
                    f"{given[0]} has no effect without {names.ENV_LIVE_PAGE}. Set {names.ENV_LIVE_PAGE} to the address "
                    f"of the live page, such as 127.0.0.1:8080, or unset {given[0]}."
                )
            return None
        token = environment.get(names.ENV_LIVE_PAGE_TOKEN)
        if token is not None:
            token = token.strip()  # files of Secrets often end with a line break
            check_token(token)
        certificate = _certificate(environment)
        address, http = parse_address(text, names.ENV_LIVE_PAGE), environment.get(names.ENV_HTTP)
        # port 0, any free port, is another one each time
        is_shared = bool(http) and address.port != 0 and address == parse_address(http or "", names.ENV_HTTP)
        if is_shared and certificate:
            raise ConfigError(
                f"{names.ENV_LIVE_PAGE_CERT} cannot be used for {address}, which also serves the metrics. Set "
                f"{names.ENV_LIVE_PAGE} to another port than {names.ENV_HTTP}."
            )
        return cls(address, PageAccess(token or "", certificate is not None), certificate, is_shared)


@contextmanager
def serving_page(page: LivePage, monitor: Monitor, how: PageServing | None) -> Iterator[None]:
    """Serve the page until the end of the block.

    The port of the metrics answers requests for the page with the place of the page. Raises EnvironmentFailure.
    """
    if how is None:
        _refer(monitor, f"this process serves no live page, because {names.ENV_LIVE_PAGE} is not set")
        yield
        return
    routes = page.routes(how.access)
    if how.is_shared:
        monitor.routes.update(routes)
        yield
        return
    with HttpServer(how.address, routes, certificate=how.certificate) as server:
        _refer(monitor, f"the live page is served on port {server.address.port}, with {how.scheme}")
        log.info("the live page is served at %s://%s%s", how.scheme, server.address, names.HTTP_PAGE)
        yield


def _certificate(environment: Mapping[str, str]) -> ServerCertificate | None:
    variables = names.ENV_LIVE_PAGE_CERT, names.ENV_LIVE_PAGE_KEY
    paths = [environment.get(variable) for variable in variables]
    if not any(paths):
        return None
    if not all(paths):
        given, missing = variables if paths[0] else variables[::-1]
        raise ConfigError(f"{given} cannot be used without {missing}. Set both for https, or none of them.")
    certificate, key = (Path(path or "") for path in paths)
    return ServerCertificate(certificate, key, variables)


def _refer(monitor: Monitor, sentence: str) -> None:
    handler: Handler = lambda _: plain(sentence, HTTPStatus.NOT_FOUND)  # noqa: E731
    for path in (names.HTTP_PAGE, names.HTTP_OVERVIEW, names.HTTP_TRIALS, names.HTTP_TRIAL):
        monitor.routes[path] = handler
