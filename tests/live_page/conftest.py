"""Studies behind a real HTTP server, and a browser to look at them with."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser

from tests.live_page import studies
from tests.support.browser import chromium
from tuner.address import Address
from tuner.live_page.access import PageAccess
from tuner.live_page.live_state import LiveState
from tuner.live_page.routes import LivePage
from tuner.monitoring.http_server import HttpServer
from tuner.study.state import StudyState

BUCKET = "gs://bucket/prefix"


@dataclass
class Served:
    """A study that is served; its chief can be away, and `take` may be replaced."""

    take: Callable[[], LiveState | None]
    address: Address
    server: HttpServer | None = None

    def __post_init__(self) -> None:
        self.site = LivePage(BUCKET, self._take)

    @property
    def url(self) -> str:
        return f"http://{self.address.host}:{self.address.port}/"

    def _take(self) -> LiveState | None:
        return self.take()

    def begin(self) -> None:
        self.server = HttpServer(self.address, self.site.routes(PageAccess()))
        self.server.__enter__()
        self.address = self.server.address

    def end(self) -> None:
        if self.server:
            self.server.__exit__()
            self.server = None


@contextlib.contextmanager
def serving(take: Callable[[], LiveState | None]) -> Iterator[Served]:
    served = Served(take, Address("127.0.0.1", 0))
    served.begin()
    try:
        yield served
    finally:
        served.end()


@pytest.fixture(scope="session")
def small() -> StudyState:
    return studies.searched(3, 3, workers=2)


@pytest.fixture(scope="session")
def large() -> StudyState:
    return studies.searched(3000, 3000, workers=16)


@pytest.fixture(scope="module")  # for longer, and no other test of the process could run an event loop
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started
