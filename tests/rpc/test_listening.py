"""A worker that starts before its chief connects as soon as the chief listens."""

import socket
import threading
import time

from tests.support.gcs_emulator import free_port
from tuner.rpc.tls_client_errors import await_listening


def test_who_waits_goes_on_as_soon_as_somebody_listens() -> None:
    port = free_port()
    waiting = threading.Thread(target=await_listening, args=(f"127.0.0.1:{port}", 30.0, print))
    waiting.start()
    time.sleep(0.3)
    assert waiting.is_alive()
    with socket.create_server(("127.0.0.1", port)):
        waiting.join(1.0)
        assert not waiting.is_alive()


def test_nobody_is_waited_for_longer_than_was_said() -> None:
    began = time.monotonic()
    causes: list[str] = []
    await_listening(f"127.0.0.1:{free_port()}", 0.5, causes.append)
    assert 0.5 <= time.monotonic() - began < 5.0
    assert set(causes) == {"Connection refused"}
