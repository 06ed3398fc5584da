"""A message is posted to a real server: again if that may help, without blocking, and without showing the secret."""

import logging
import socket
import threading

import pytest

from tests.support.gcs_emulator import free_port
from tests.support.webhook import running_webhook
from tuner.notification import webhook
from tuner.notification.webhook import masked, post


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "PAUSES_S", (0.01, 0.02))


def test_one_json_document_is_posted() -> None:
    with running_webhook() as hook:
        assert post(hook.url, b'{"a": 1}')
        assert hook.posts == [("/hooks/very-secret", {"a": 1})]


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_failure_that_may_pass_is_tried_again(status: int) -> None:
    with running_webhook(status, status) as hook:
        assert post(hook.url, b"{}")
        assert len(hook.posts) == 3


@pytest.mark.parametrize("status", [301, 400, 404])
def test_a_refusal_is_final_and_logged_without_the_secret(status: int, caplog: pytest.LogCaptureFixture) -> None:
    with running_webhook(status) as hook, caplog.at_level(logging.DEBUG, "tuner"):
        assert not post(hook.url, b"{}")
        assert len(hook.posts) == 1
    assert f"could not be reported to http://127.0.0.1/…: it answered with the status {status}" in caplog.text
    assert "very-secret" not in caplog.text


def test_a_server_that_does_not_answer_is_not_awaited_and_a_warning_says_so_without_the_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with running_webhook(is_open=False) as hook:
        assert not post(hook.url, b"{}", wait_s=0.1)
        assert not hook.gate.is_set(), "the call returned before the server answered"
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["the end of the study is not yet delivered to http://127.0.0.1/… after 0.1 s"]


def test_the_delivery_is_given_up_after_a_time_and_the_log_does_not_contain_the_secret(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(webhook, "GIVE_UP_S", 0.1)
    with caplog.at_level(logging.DEBUG, "tuner"):
        assert not post(f"http://127.0.0.1:{free_port()}/hooks/very-secret", b"{}")
    assert "trying again" in caplog.text
    assert "the end of the study could not be reported to http://127.0.0.1/…: ConnectionError" in caplog.text
    assert "very-secret" not in caplog.text


@pytest.mark.parametrize("answer", ["200 OK", "404 Not Found"])
def test_no_logger_shows_the_secret_even_if_the_answer_is_malformed(
    answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    def serve(listener: socket.socket) -> None:
        with listener.accept()[0] as connection:
            received = b""
            while not received.endswith(b"{}"):
                received += connection.recv(65_536)
            connection.sendall(f"HTTP/1.1 {answer}\r\nbroken header line\r\nContent-Length: 0\r\n\r\n".encode())

    with socket.create_server(("127.0.0.1", 0)) as listener, caplog.at_level(logging.DEBUG):
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        post(f"http://127.0.0.1:{listener.getsockname()[1]}/hooks/very-secret", b"{}")
        thread.join(10)
        logging.getLogger("urllib3.connectionpool").warning("of another thread")
    assert "reported to http://127.0.0.1/…" in caplog.text
    assert "very-secret" not in caplog.text
    assert "of another thread" in caplog.text


def test_a_masked_url_has_neither_path_nor_password() -> None:
    assert masked("https://user:word@example.com/hooks/1?token=2") == "https://example.com/…"
