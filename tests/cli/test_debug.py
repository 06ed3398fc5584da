"""`--debug`: it stands before the command, shows tracebacks, and lets the processes of a study log more."""

import logging
from collections.abc import Callable

import pytest

from tuner.cli import app as command_line
from tuner.errors import ConfigError, ExitCode


@pytest.mark.parametrize("error", [ConfigError("study.yaml is wrong."), RuntimeError("unexpected")])
def test_a_traceback_is_logged_with_debug_only(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
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
    run: Callable[..., int], options: tuple[str, ...], level: int
) -> None:
    assert run(*options, "worker") == ExitCode.USAGE  # it has no chief's address, but a log
    assert logging.getLogger("tuner").level == level


def test_an_unexpected_exception_is_an_internal_error(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise RuntimeError("Something happened.")

    monkeypatch.setattr(command_line, "json_schema", fail)
    assert run("schema") == ExitCode.INTERNAL == 1
    text = "error: internal error: RuntimeError: Something happened. Run again with --debug for a traceback.\n"
    assert capsys.readouterr().err == text


def test_debug_is_no_option_of_a_command(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("schema", "--debug") == ExitCode.USAGE
    assert "--debug" in capsys.readouterr().err
