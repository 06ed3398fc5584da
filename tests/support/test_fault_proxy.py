"""The fault proxy does what it is asked for: other tests believe it."""

import time
from collections.abc import Iterator

import pytest
import requests

from tests.support.children import child
from tests.support.fault_proxy import Fault, Faults, running_proxy
from tests.support.http_server import QuietHandler, server_of, serving


class Counting(QuietHandler):
    """Answers with what it was sent, and counts its requests."""

    protocol_version = "HTTP/1.1"
    paths: list[str]

    def _answer(self) -> None:
        self.paths.append(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"nothing"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Location", f"http://{self.headers['Host']}/next")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer  # noqa: N815


@pytest.fixture
def target() -> Iterator[str]:
    Counting.paths = []
    with serving(server_of(Counting)) as url:
        yield url


def test_without_faults_it_is_not_noticed_but_for_the_address(target: str) -> None:
    body = bytes(range(256)) * 10_000
    with running_proxy(target) as proxy, requests.Session() as session:
        answer = session.post(f"{proxy.url}/a?b=c", data=body, timeout=10)
        assert answer.content == body
        assert answer.headers["Location"] == f"{proxy.url}/next"
        assert session.get(f"{proxy.url}/again", timeout=10).content == b"nothing"
        assert Counting.paths == ["/a?b=c", "/again"]


def test_latency_is_added_to_every_request(target: str) -> None:
    with running_proxy(target, Faults(latency_s=0.05)) as proxy, requests.Session() as session:
        started = time.monotonic()
        for _ in range(4):
            session.get(proxy.url, timeout=10)
        assert 0.2 <= time.monotonic() - started < 1.0


@pytest.mark.parametrize(("fault", "status"), [(Fault.UNAVAILABLE, 503), (Fault.TOO_MANY, 429)])
def test_a_refused_request_does_not_reach_the_target(target: str, fault: Fault, status: int) -> None:
    with running_proxy(target) as proxy:
        proxy.script.append(fault)
        assert requests.get(proxy.url, timeout=10).status_code == status
        assert Counting.paths == []
        assert requests.get(proxy.url, timeout=10).status_code == 200


@pytest.mark.parametrize(("fault", "reached"), [(Fault.CUT_BEFORE, 0), (Fault.CUT_AFTER, 1), (Fault.STALL, 0)])
def test_a_cut_connection_loses_the_request_or_only_its_answer(target: str, fault: Fault, reached: int) -> None:
    with running_proxy(target, Faults(stall_s=0.1)) as proxy:
        proxy.script.append(fault)
        with pytest.raises(requests.ConnectionError):
            requests.post(proxy.url, data=b"x", timeout=10)
        assert len(Counting.paths) == reached


def test_a_damaged_answer_arrives_with_another_last_byte(target: str) -> None:
    with running_proxy(target) as proxy:
        proxy.script.append(Fault.DAMAGED)
        assert requests.post(proxy.url, data=b"0123", timeout=10).content == b"0122"


def test_the_same_seed_meets_the_same_faults_in_about_the_asked_share(target: str) -> None:
    def statuses(seed: int) -> list[int]:
        with running_proxy(target, Faults(seed=seed, unavailable=0.2, too_many=0.1)) as proxy:
            codes = [requests.get(proxy.url, timeout=10).status_code for _ in range(100)]
            assert proxy.met == {
                Fault.NONE: codes.count(200),
                Fault.UNAVAILABLE: codes.count(503),
                Fault.TOO_MANY: codes.count(429),
            }
            return codes

    first = statuses(1)
    assert first == statuses(1) != statuses(2)
    assert 10 <= first.count(503) <= 30


def test_it_runs_as_a_program(target: str) -> None:
    arguments = ("--target", target, "--latency-ms", "1", "--unavailable", "1")
    code = """
        import runpy, sys
        runpy.run_module("tests.support.fault_proxy", run_name="__main__")
    """
    with child(code, *arguments) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert requests.get(url, timeout=10).status_code == 503


def test_a_target_that_is_down_cuts_the_connection() -> None:
    with running_proxy("http://127.0.0.1:1") as proxy, pytest.raises(requests.ConnectionError):
        requests.get(proxy.url, timeout=10)
