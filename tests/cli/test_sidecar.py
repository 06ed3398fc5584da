"""A pod's process asks an injected sidecar to end with it, at a real HTTP server."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.support.command_line import run_in_process
from tests.support.http_server import QuietHandler, server_of, serving
from tuner import names
from tuner.errors import ExitCode


@dataclass
class Sidecar:
    """A proxy that notes who asks it to end."""

    url: str = ""
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def sidecar() -> Iterator[Sidecar]:
    proxy = Sidecar()

    class Handler(QuietHandler):
        def do_POST(self) -> None:  # noqa: N802
            proxy.requests.append(f"POST {self.path}")
            self.send_response(200)
            self.end_headers()

    with serving(server_of(Handler)) as url:
        proxy.url = f"{url}/quitquitquit"
        yield proxy


@pytest.mark.parametrize("command", [("worker",), ("chief",), ("data", "prepare", "--bucket", __file__)])
def test_a_pods_process_asks_the_sidecar_to_end_also_after_an_error(sidecar: Sidecar, command: tuple[str, ...]) -> None:
    done = run_in_process(*command, environment={names.ENV_QUIT_URL: sidecar.url, "http_proxy": "http://127.0.0.1:9"})
    assert done.code in (ExitCode.USAGE, ExitCode.ENVIRONMENT)
    assert sidecar.requests == ["POST /quitquitquit"]


def test_a_reader_in_the_same_pod_does_not_end_the_sidecar(sidecar: Sidecar) -> None:
    done = run_in_process("schema", environment={names.ENV_QUIT_URL: sidecar.url})
    assert done.code == ExitCode.DONE
    assert sidecar.requests == []


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://127.0.0.1:9/quit", "the sidecar was not asked to end, because http://127.0.0.1:9/quit did not answer"),
        ("localhost:15020", "CIFAKE_TUNE_QUIT_URL must be an http:// or https:// URL, got 'localhost:15020'"),
    ],
)
def test_a_sidecar_that_does_not_answer_changes_neither_the_exit_code_nor_the_error(url: str, sentence: str) -> None:
    done = run_in_process("worker", environment={names.ENV_QUIT_URL: url})
    assert done.code == ExitCode.USAGE
    assert "error: the environment variable KERASTUNER_ORACLE_IP must be set" in done.err
    assert sentence in done.err
