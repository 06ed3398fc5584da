"""Who may read the live page: its token, its cookie, its certificate, and the port on which it is."""

import http.client
import logging
import socket
import ssl
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.live_page import studies
from tests.live_page.conftest import BUCKET
from tests.support.certificates import Authority
from tests.support.scrape import get
from tuner import names
from tuner.address import Address
from tuner.errors import ConfigError
from tuner.live_page.access import PageAccess
from tuner.live_page.routes import STATIC, LivePage
from tuner.live_page.serving import PageServing, serving_page
from tuner.monitoring import http_server
from tuner.monitoring.catalogue import Role
from tuner.monitoring.endpoint import Monitor, serving
from tuner.monitoring.http_server import HttpServer
from tuner.monitoring.server_certificate import ServerCertificate
from tuner.rpc.tls import Files
from tuner.study.state import StudyState

TOKEN = "correct-horse-battery-staple"
ROUTES = [*STATIC, names.HTTP_OVERVIEW, names.HTTP_TRIALS, f"{names.HTTP_TRIAL}?trial=00000"]
VARIABLES = names.ENV_LIVE_PAGE_CERT, names.ENV_LIVE_PAGE_KEY


class Answer:
    """An answer, without following redirects."""

    def __init__(self, connection: http.client.HTTPConnection, path: str, **headers: str) -> None:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        self.status, self.headers, self.text = response.status, response.headers, response.read().decode()
        connection.close()


@pytest.fixture
def page(small: StudyState) -> LivePage:
    return LivePage(BUCKET, studies.watched(small))


@pytest.fixture
def guarded(page: LivePage) -> Iterator[Address]:
    with HttpServer(Address("127.0.0.1", 0), page.routes(PageAccess(TOKEN))) as server:
        yield server.address


def ask(address: Address, path: str, **headers: str) -> Answer:
    return Answer(http.client.HTTPConnection(address.host, address.port, timeout=20), path, **headers)


def ask_encrypted(address: Address, path: str, authority: Path, host: str = "localhost", **headers: str) -> Answer:
    context = ssl.create_default_context(cafile=str(authority))
    connection = http.client.HTTPSConnection(host, address.port, timeout=20, context=context)
    connection._create_connection = lambda _, *rest: socket.create_connection((address.host, address.port), *rest)  # type: ignore[attr-defined]
    return Answer(connection, path, **headers)


def login(address: Address) -> str:
    """Open the page with its token, and return the cookie."""
    answer = ask(address, f"/?token={TOKEN}")
    assert (answer.status, answer.headers["Refresh"]) == (HTTPStatus.OK, "0; url=./")
    return str(answer.headers["Set-Cookie"])


# ---- the token ------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ROUTES)
def test_no_route_of_the_page_is_answered_without_the_token(guarded: Address, path: str) -> None:
    answer = ask(guarded, path)
    assert answer.status == HTTPStatus.UNAUTHORIZED
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert "val_accuracy" not in answer.text
    assert "token" in answer.text


@pytest.mark.parametrize("path", ROUTES)
def test_a_client_with_the_token_in_its_header_is_answered(guarded: Address, path: str) -> None:
    assert ask(guarded, path, Authorization=f"Bearer {TOKEN}").status == HTTPStatus.OK


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer \xff\xfe"},
        {"Cookie": f"token={TOKEN}"},
    ],
)
def test_a_wrong_token_is_refused(guarded: Address, headers: dict[str, str]) -> None:
    assert ask(guarded, names.HTTP_OVERVIEW, **headers).status == HTTPStatus.UNAUTHORIZED


def test_the_token_in_the_address_becomes_a_cookie_that_scripts_and_other_sites_cannot_use(guarded: Address) -> None:
    cookie = login(guarded)
    pair, *attributes = cookie.split("; ")
    assert set(attributes) == {"Path=/", "HttpOnly", "SameSite=Strict"}
    assert TOKEN not in cookie
    for path in ROUTES:
        assert ask(guarded, path, Cookie=f"other=1; {pair}").status == HTTPStatus.OK
    name = pair.partition("=")[0]
    assert ask(guarded, names.HTTP_OVERVIEW, Cookie=f"{name}={'0' * 64}").status == HTTPStatus.UNAUTHORIZED


def test_a_wrong_token_in_the_address_is_answered_with_a_sentence_and_the_form(guarded: Address) -> None:
    answer = ask(guarded, "/?token=0123456789abcdef")
    assert (answer.status, answer.headers["Set-Cookie"]) == (HTTPStatus.UNAUTHORIZED, None)
    assert "This is not the token of the live page." in answer.text
    assert '<form action="./" method="get">' in answer.text
    assert "0123456789abcdef" not in answer.text


def test_the_cookie_of_another_token_is_refused(page: LivePage, guarded: Address) -> None:
    cookie = login(guarded).partition(";")[0]
    with HttpServer(Address("127.0.0.1", 0), page.routes(PageAccess(f"{TOKEN}-renewed"))) as renewed:
        assert ask(renewed.address, names.HTTP_OVERVIEW, Cookie=cookie).status == HTTPStatus.UNAUTHORIZED


def test_the_token_is_in_no_log_and_in_no_answer(guarded: Address, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for path in ("/?token={}", "/overview.json?token={}", "/trials.json?state={}", "/none?token={}"):
        answer = ask(guarded, path.format(TOKEN), Authorization=f"Bearer {TOKEN}")
        assert TOKEN not in answer.text + str(answer.headers)
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(PageAccess(TOKEN))


def test_a_page_with_a_token_may_have_a_public_name(guarded: Address) -> None:
    """Without one, it answers 421 (test_routes.py). The browser sends no cookie to a name that another site owns."""
    public = {"Host": "cifake.example.com"}
    assert ask(guarded, names.HTTP_OVERVIEW, **public).status == HTTPStatus.UNAUTHORIZED
    assert ask(guarded, names.HTTP_OVERVIEW, Authorization=f"Bearer {TOKEN}", **public).status == HTTPStatus.OK


# ---- its place ------------------------------------------------------------------------------------
def test_a_page_on_a_port_of_its_own_leaves_metrics_and_health_on_theirs(page: LivePage) -> None:
    monitor = Monitor(Role.CHIEF)
    how = PageServing(own := free_address(), PageAccess(TOKEN))
    with serving(monitor, {names.ENV_HTTP: "127.0.0.1:0"}) as http_at, serving_page(page, monitor, how):
        assert get(str(http_at), names.HTTP_HEALTHY).status == HTTPStatus.OK
        assert "cifake_tune_build_info" in get(str(http_at), names.HTTP_METRICS).text
        for path in (names.HTTP_PAGE, names.HTTP_OVERVIEW):
            answer = get(str(http_at), path)
            assert answer.status == HTTPStatus.NOT_FOUND
            assert answer.text == f"the live page is served on port {own.port}, with http\n"
        assert get(str(own), names.HTTP_METRICS).status == HTTPStatus.NOT_FOUND
        assert ask(own, "/", Authorization=f"Bearer {TOKEN}").status == HTTPStatus.OK


def test_a_page_at_the_address_of_the_metrics_shares_their_port_and_they_need_no_token(page: LivePage) -> None:
    at = free_address()
    environment = {names.ENV_HTTP: str(at), names.ENV_LIVE_PAGE: str(at), names.ENV_LIVE_PAGE_TOKEN: TOKEN}
    how = PageServing.from_environment(environment)
    monitor = Monitor(Role.CHIEF)
    with serving(monitor, environment), serving_page(page, monitor, how):
        assert ask(at, "/").status == HTTPStatus.UNAUTHORIZED
        assert ask(at, "/", Authorization=f"Bearer {TOKEN}").status == HTTPStatus.OK
        assert ask(at, names.HTTP_HEALTHY).status == HTTPStatus.OK
        assert ask(at, names.HTTP_METRICS).status == HTTPStatus.OK


def test_a_chief_without_an_address_for_its_page_serves_none_and_says_so(page: LivePage) -> None:
    monitor = Monitor(Role.CHIEF)
    assert PageServing.from_environment({names.ENV_HTTP: "127.0.0.1:0"}) is None
    with serving(monitor, {names.ENV_HTTP: "127.0.0.1:0"}) as at, serving_page(page, monitor, None):
        answer = get(str(at), names.HTTP_PAGE)
    assert answer.status == HTTPStatus.NOT_FOUND
    assert answer.text == "this process serves no live page, because CIFAKE_TUNE_LIVE_PAGE is not set\n"


def free_address() -> Address:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return Address("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({names.ENV_LIVE_PAGE_TOKEN: TOKEN}, "CIFAKE_TUNE_LIVE_PAGE_TOKEN has no effect without CIFAKE_TUNE_LIVE_PAGE"),
        ({names.ENV_LIVE_PAGE: "8080"}, "CIFAKE_TUNE_LIVE_PAGE must be HOST:PORT"),
        ({names.ENV_LIVE_PAGE: "a:1", names.ENV_LIVE_PAGE_TOKEN: ""}, "must have 16 to 512 characters"),
        ({names.ENV_LIVE_PAGE: "a:1", names.ENV_LIVE_PAGE_TOKEN: "hunter2"}, "without spaces, got 7 characters"),
        ({names.ENV_LIVE_PAGE: "a:1", names.ENV_LIVE_PAGE_TOKEN: "a token with spaces"}, "without spaces, got 19"),
        ({names.ENV_LIVE_PAGE: "a:1", names.ENV_LIVE_PAGE_CERT: "a.pem"}, "_CERT cannot be used without .*_KEY"),
        ({names.ENV_LIVE_PAGE: "a:1", names.ENV_LIVE_PAGE_KEY: "a.pem"}, "_KEY cannot be used without .*_CERT"),
        (
            {names.ENV_LIVE_PAGE: "a:1", names.ENV_LIVE_PAGE_CERT: "/none.pem", names.ENV_LIVE_PAGE_KEY: "/none.pem"},
            "/none.pem: the TLS file cannot be read",
        ),
    ],
)
def test_what_cannot_be_served_is_a_sentence(variables: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as error:
        PageServing.from_environment(variables)
    assert "hunter2" not in str(error.value)


# ---- https ----------------------------------------------------------------------------------------
@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def files(authority: Authority) -> Files:
    return authority.issue("page", "localhost", "cifake.example.com")


@pytest.fixture
def encrypted(page: LivePage, files: Files) -> Iterator[Address]:
    certificate = ServerCertificate(files.certificate, files.key, VARIABLES)
    routes = page.routes(PageAccess(TOKEN, is_encrypted=True))
    with HttpServer(Address("127.0.0.1", 0), routes, certificate=certificate) as server:
        yield server.address


def test_https_is_verified_and_its_cookie_is_never_sent_without_it(encrypted: Address, authority: Authority) -> None:
    answer = ask_encrypted(encrypted, f"/?token={TOKEN}", authority.certificate, "cifake.example.com")
    cookie = str(answer.headers["Set-Cookie"])
    assert cookie.endswith("; Secure")
    again = ask_encrypted(encrypted, names.HTTP_OVERVIEW, authority.certificate, Cookie=cookie.partition(";")[0])
    assert again.status == HTTPStatus.OK


def test_a_renewed_certificate_is_used_by_the_next_connection(
    encrypted: Address, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = Authority(tmp_path / "other")

    def serves(signer: Authority) -> bool:
        try:
            return ask_encrypted(encrypted, "/", signer.certificate).status == HTTPStatus.UNAUTHORIZED
        except ssl.SSLCertVerificationError:
            return False

    assert (serves(authority), serves(other)) == (True, False)
    renewed = other.issue("page", "localhost")
    certificate, key = authority.folder / "page-certificate.pem", authority.folder / "page-key.pem"
    certificate.write_bytes(renewed.certificate.read_bytes())  # a moment in which the two do not match
    assert (serves(authority), serves(other)) == (True, False)
    assert "the renewed certificate cannot be used, so the previous one stays in use" in caplog.text
    key.write_bytes(renewed.key.read_bytes())
    assert (serves(authority), serves(other)) == (False, True)
    key.unlink()
    assert serves(other)


def test_a_client_without_tls_is_dropped_and_others_are_answered(
    encrypted: Address, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_connection((encrypted.host, encrypted.port), timeout=20) as plain:
        plain.sendall(f"GET /?token={TOKEN} HTTP/1.0\r\n\r\n".encode())
        answer = b""
        try:
            while part := plain.recv(4096):
                answer += part
        except ConnectionResetError:
            pass
    assert b"HTTP" not in answer
    assert ask_encrypted(encrypted, "/", authority.certificate).status == HTTPStatus.UNAUTHORIZED
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


def test_a_client_that_never_finishes_the_handshake_delays_no_other_client(
    page: LivePage, files: Files, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "IDLE_S", 0.3)
    certificate = ServerCertificate(files.certificate, files.key, VARIABLES)
    routes = page.routes(PageAccess(is_encrypted=True))
    with (
        HttpServer(Address("127.0.0.1", 0), routes, certificate=certificate) as server,
        socket.create_connection((server.address.host, server.address.port), timeout=20) as silent,
    ):
        assert ask_encrypted(server.address, "/", authority.certificate).status == HTTPStatus.OK
        assert silent.recv(1) == b"", "it is closed"


def test_who_holds_all_encrypted_connections_is_closed_first(encrypted: Address, authority: Authority) -> None:
    address = encrypted.host, encrypted.port
    silent = [socket.create_connection(address, timeout=20) for _ in range(http_server.REQUESTS + 1)]
    try:
        assert silent[0].recv(1) == b""
        assert ask_encrypted(encrypted, "/", authority.certificate).status == HTTPStatus.UNAUTHORIZED
    finally:
        for connection in silent:
            connection.close()


def test_a_certificate_and_the_key_of_another_are_a_sentence(authority: Authority, files: Files) -> None:
    other = authority.issue("other", "localhost")
    variables = {
        names.ENV_LIVE_PAGE: "127.0.0.1:0",
        names.ENV_LIVE_PAGE_CERT: str(files.certificate),
        names.ENV_LIVE_PAGE_KEY: str(other.key),
    }
    with pytest.raises(ConfigError, match=r"not the key of .*Set CIFAKE_TUNE_LIVE_PAGE_CERT and .*_KEY to a matching"):
        PageServing.from_environment(variables)
    variables[names.ENV_LIVE_PAGE_KEY] = str(files.certificate)
    with pytest.raises(ConfigError, match="must be a PEM private key"):
        PageServing.from_environment(variables)
    variables |= {names.ENV_LIVE_PAGE_CERT: str(files.key), names.ENV_LIVE_PAGE_KEY: str(files.key)}
    with pytest.raises(ConfigError, match=r"page-key\.pem: the file must be a PEM certificate"):
        PageServing.from_environment(variables)


def test_https_needs_another_port_than_the_metrics(files: Files) -> None:
    variables = {
        names.ENV_HTTP: "127.0.0.1:9090",
        names.ENV_LIVE_PAGE: "127.0.0.1:9090",
        names.ENV_LIVE_PAGE_CERT: str(files.certificate),
        names.ENV_LIVE_PAGE_KEY: str(files.key),
    }
    with pytest.raises(ConfigError, match=r"which also serves the metrics\. Set CIFAKE_TUNE_LIVE_PAGE to another port"):
        PageServing.from_environment(variables)
