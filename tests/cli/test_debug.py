"""`--debug`: it stands before the command, shows tracebacks, and lets the processes of a study log more."""

import logging
import signal
from collections.abc import Iterator

import pytest

from tuner.cli import app as command_line
from tuner.errors import ConfigError, ExitCode


@pytest.fixture
def logs() -> Iterator[logging.Logger]:
    """The product's logger, with the level that it had before; no handler is added for good."""
    root, ours = logging.getLogger(), logging.getLogger("tuner")
    handlers, levels = list(root.handlers), (root.level, ours.level)
    yield ours
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def run(*arguments: str) -> int:
    previous_handler = signal.getsignal(signal.SIGTERM)
    try:
        return command_line.run_command(list(arguments))
    finally:
        signal.signal(signal.SIGTERM, previous_handler)


@pytest.mark.parametrize("error", [ConfigError("study.yaml is wrong."), RuntimeError("unexpected")])
def test_a_traceback_is_logged_with_debug_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(command_line, "json_schema", fail)
    run("schema")
    assert not caplog.records
    run("--debug", "schema")
    [record] = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is error


@pytest.mark.parametrize(("options", "level"), [((), logging.INFO), (("--debug",), logging.DEBUG)])
def test_a_process_of_a_study_logs_more_with_debug(
    monkeypatch: pytest.MonkeyPatch, logs: logging.Logger, options: tuple[str, ...], level: int
) -> None:
    for variable in ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"):
        monkeypatch.delenv(variable, raising=False)
    assert run(*options, "worker") == ExitCode.USAGE  # it has no chief's address, but a log
    assert logs.level == level


def test_debug_is_an_option_before_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("schema", "--debug") == ExitCode.USAGE
    assert "--debug" in capsys.readouterr().err
