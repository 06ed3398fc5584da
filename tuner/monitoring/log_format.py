"""The format of the processes' logs. Each event is one line, as text or as JSON.

The JSON has the keys that log collectors such as Google Cloud Logging and fluent-bit expect: time, severity, message.
"""

import json
import logging
import time
from collections.abc import Mapping
from enum import StrEnum
from typing import TextIO

from tuner import names
from tuner.errors import ConfigError
from tuner.printable import LINES, printable, printable_json


class LogFormat(StrEnum):
    """The format of a log line."""

    TEXT = "text"
    JSON = "json"


def read_format(environment: Mapping[str, str]) -> LogFormat:
    """Return the format that the environment sets. The default is text. Raises ConfigError."""
    text = environment.get(names.ENV_LOG_FORMAT) or LogFormat.TEXT
    try:
        return LogFormat(text)
    except ValueError:
        raise ConfigError(f"{names.ENV_LOG_FORMAT} must be {' or '.join(LogFormat)}, got {text!r}.") from None


def begin_logging(stream: TextIO, form: LogFormat, level: int) -> None:
    """Log events of this program from `level` on, and warnings of libraries, to the stream."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if form is LogFormat.JSON else TextFormatter())
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.WARNING)
    logging.captureWarnings(form is LogFormat.JSON)
    logging.getLogger("tuner").setLevel(level)


def mask_unconfigured_logging() -> None:
    """Mask control characters also in the warnings and tracebacks of commands that do not call `begin_logging`."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(TextFormatter("%(message)s"))


class TextFormatter(logging.Formatter):
    """Formats each event as a time and a message. Control characters are masked, because names may contain them."""

    def __init__(self, form: str = "%(asctime)s %(message)s") -> None:
        super().__init__(form, datefmt="%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, or the lines of a traceback."""
        return printable(super().format(record), keep=LINES)


class JsonFormatter(logging.Formatter):
    """Formats each event as one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        event = {
            "time": self.formatTime(record),
            "severity": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return printable_json(json.dumps(event, ensure_ascii=False))

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802  (logging's name)
        """Return the event's time in UTC, with milliseconds."""
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03}Z"


def error_line(text: str, form: LogFormat) -> str:
    """Return the line with which a failed process reports its error."""
    return f"error: {_one_line(text)}" if form is LogFormat.TEXT else _json_line(text, logging.ERROR)


def stop_line(text: str, form: LogFormat) -> str:
    """Return the line with which a process reports that it was asked to stop, which is not an error."""
    sentence = text[:1].upper() + text[1:]
    return _one_line(sentence) if form is LogFormat.TEXT else _json_line(sentence, logging.INFO)


def _one_line(text: str) -> str:
    return printable(" ".join(text.splitlines()))  # no name can forge another line


def _json_line(text: str, level: int) -> str:
    return JsonFormatter().format(logging.LogRecord("tuner", level, "", 0, "%s", (text,), None))
