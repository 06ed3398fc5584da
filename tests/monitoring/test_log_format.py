"""Logs are a readable line an event, or a JSON object a line, by one environment variable."""

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from tests.support.command_line import run_in_process
from tuner.errors import ConfigError, ExitCode
from tuner.monitoring.log_format import LogFormat, begin_logging, read_format

log = logging.getLogger("tuner.test")


@pytest.fixture
def root() -> Iterator[None]:
    """The loggers as they were."""
    handlers, level, ours = logging.root.handlers[:], logging.root.level, logging.getLogger("tuner").level
    logging.root.handlers.clear()
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    logging.getLogger("tuner").setLevel(ours)
    logging.captureWarnings(False)


def written(form: LogFormat) -> str:
    stream = io.StringIO()
    begin_logging(stream, form, logging.INFO)
    log.info("trial %s epoch %d/%d: val_accuracy %.4f", "00003", 2, 8, 0.91)
    log.debug("too much")
    logging.getLogger("library").info("too much")
    try:
        raise ValueError("of many\nlines")
    except ValueError:
        log.exception("it failed:\n„ja“")
    return stream.getvalue()


@pytest.mark.usefixtures("root")
def test_text_is_a_time_and_a_sentence() -> None:
    first = written(LogFormat.TEXT).splitlines()[0]
    assert re.fullmatch(r"\d\d:\d\d:\d\d trial 00003 epoch 2/8: val_accuracy 0\.9100", first)


@pytest.mark.usefixtures("root")
def test_json_is_an_object_a_line_whatever_is_said() -> None:
    lines = [json.loads(line) for line in written(LogFormat.JSON).splitlines()]
    assert [line["severity"] for line in lines] == ["INFO", "ERROR"]
    assert lines[0]["message"] == "trial 00003 epoch 2/8: val_accuracy 0.9100"
    assert lines[1]["message"] == "it failed:\n„ja“"
    assert "ValueError: of many" in lines[1]["traceback"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]) for line in lines)
    assert {line["logger"] for line in lines} == {"tuner.test"}


def test_another_format_is_an_error_that_names_the_variable() -> None:
    assert read_format({}) is LogFormat.TEXT
    assert read_format({"CIFAKE_TUNE_LOG_FORMAT": "json"}) is LogFormat.JSON
    with pytest.raises(ConfigError, match="CIFAKE_TUNE_LOG_FORMAT must be text or json, got 'yaml'"):
        read_format({"CIFAKE_TUNE_LOG_FORMAT": "yaml"})


@pytest.mark.parametrize("form", LogFormat)
def test_a_process_that_fails_says_why_in_the_same_format(form: LogFormat) -> None:
    done = run_in_process("worker", environment={"CIFAKE_TUNE_LOG_FORMAT": form, "KERASTUNER_ORACLE_IP": ""})
    assert done.code == ExitCode.USAGE
    last = done.err.splitlines()[-1]
    message = json.loads(last)["message"] if form is LogFormat.JSON else last.removeprefix("error: ")
    assert message == "the environment variable KERASTUNER_ORACLE_IP must be set for this command."
