"""Progress: something is shown of everything that takes longer than two seconds."""

import contextlib
import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tuner.data.source import Progress
from tuner.report.terminal import console
from tuner.report.terminal.console import shown_progress, shown_wait

SOON_S = 0.1


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "FIRST_S", SOON_S)
    monkeypatch.setattr(console, "EVERY_S", SOON_S)


@contextlib.contextmanager
def caught() -> Iterator[io.StringIO]:
    """Yield what is written to standard error, which is no terminal."""
    written = io.StringIO()
    with contextlib.redirect_stderr(written):
        yield written


def wait_for(err: io.StringIO, text: str, times: int = 1) -> None:
    deadline = time.monotonic() + 20
    while err.getvalue().count(text) < times:
        assert time.monotonic() < deadline, err.getvalue()
        time.sleep(0.01)


def test_the_bound_is_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert console.FIRST_S == 2


def test_a_wait_is_shown_while_it_lasts() -> None:
    with caught() as err:
        with shown_wait("asking the chief"):
            wait_for(err, "asking the chief: ")
        lines = err.getvalue()
        time.sleep(3 * SOON_S)
        assert err.getvalue() == lines, "nothing is printed afterwards"


def test_a_short_wait_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "FIRST_S", 600.0)
    with caught() as err, shown_wait("asking the chief"):
        pass
    assert err.getvalue() == ""


def test_a_step_that_reports_nothing_is_shown() -> None:
    with caught() as err, shown_progress("reading the source"):
        wait_for(err, "reading the source: ")


def test_the_progress_is_shown_again_while_a_step_reports_nothing_more() -> None:
    with caught() as err, shown_progress() as progress:
        progress(Progress("packing", 2000, 8000))
        wait_for(err, "packing: 2,000 of 8,000 images, ")
        wait_for(err, "packing: 2,000 of 8,000 images, ", times=1 + err.getvalue().count("packing"))


def test_a_wait_that_fails_ends_its_display() -> None:
    def fail(err: io.StringIO) -> None:
        with shown_wait("asking the chief"):
            wait_for(err, "asking the chief: ")
            raise KeyError

    with caught() as err:
        with pytest.raises(KeyError):
            fail(err)
        lines = err.getvalue()
        time.sleep(3 * SOON_S)
        assert err.getvalue() == lines


def test_a_wait_is_shown_also_while_the_descriptor_of_standard_error_is_redirected() -> None:
    program = (
        "import os, time\n"
        "from tuner.report.terminal import console\n"
        "console.FIRST_S = 0.1\n"
        "with console.shown_wait('importing Keras', stderr_is_hidden=True):\n"
        "    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)\n"
        "    time.sleep(1)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ)
    assert "importing Keras: " in done.stderr
