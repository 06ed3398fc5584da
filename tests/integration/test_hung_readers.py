"""A process that only reads as yet ends at once when it is asked to, also while its bucket hangs."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.integration.support import Command, Place
from tuner import names
from tuner.chief.journal_writer import JournalWriter
from tuner.config.loading import load
from tuner.study.records import Opened

READ_S = 60.0
END_S = 8.0
"""Some of it is for a busy machine."""
PREEMPTED = 143


@contextmanager
def hanging(path: Path, reader: Command) -> Iterator[None]:
    """Wait until the command reads a pipe, from which nothing comes."""
    deadline = time.monotonic() + READ_S
    pipe = None
    while pipe is None:
        with suppress(OSError):  # ENXIO: nobody reads it yet
            pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        assert time.monotonic() < deadline
        assert reader.process.poll() is None
        time.sleep(0.02)
    try:
        yield
    finally:
        os.close(pipe)


@pytest.mark.parametrize("command", ["status", "worker"])
def test_while_the_journal_is_read(place: Place, command: str) -> None:
    study = place.folder / "study.yaml"
    study.write_text("name: cifake\n")
    opened = Opened(at=0, term=1, writer="w", study=load(), data="d", direction="max")
    JournalWriter(place.bucket, place.study, "w", 1).write([opened])
    segment = place.bucket_folder / names.journal_segment(place.study, 2)
    os.mkfifo(segment)
    environment = {
        names.ENV_STUDY_FILE: str(study),
        names.ENV_TUNER_ID: "w",
        names.ENV_ORACLE_IP: "127.0.0.1",
        names.ENV_ORACLE_PORT: "1",
    }
    started = place.start(command, **(environment if command == "worker" else {}))
    with hanging(segment, started):
        started.process.send_signal(signal.SIGTERM)
        done = started.wait(END_S)
    assert done.code == PREEMPTED, done.err
    assert done.err == "The command was asked to stop.\n"
