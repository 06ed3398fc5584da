"""Output of `cifake-tune logs`."""

import time

from pydantic import TypeAdapter

from tuner.report.terminal.console import print_json, print_text
from tuner.study.attempt_logs import AttemptLog, Follower, Line, stamp

POLL_S = 1.0
"""Seconds between two reads of the logs."""
QUIET_POLLS = 3
"""Number of reads without new lines after which a finished trial is no longer followed. The last lines of an attempt
arrive slightly after the journal's record of its end."""

_LOGS: TypeAdapter[list[AttemptLog]] = TypeAdapter(list[AttemptLog])


def show(attempts: list[AttemptLog], as_json: bool) -> None:
    """Print the complete log: a header and the lines of each attempt, or one JSON list of attempts."""
    if as_json:
        print_json(_LOGS.dump_json(attempts, indent=2).decode())
        return
    for attempt in attempts:
        print_text(_header(attempt))
        for line in attempt.lines:
            print_text(line.encoded())


def follow(follower: Follower, as_json: bool) -> None:
    """Print the log and its new lines until the trial has ended. As JSON, print one object per line."""
    printed: dict[int, str] = {}
    quiet = 0
    while quiet < QUIET_POLLS:
        attempts = follower.attempts()
        lines = list(follower.new_lines())
        for attempt in attempts:
            if attempt.attempt not in printed:
                _print_attempt(attempt, printed, as_json)
            for number, line in lines:
                if number == attempt.attempt:
                    if as_json:
                        print_json(_line_json(number, line))
                    else:
                        print_text(line.encoded())
            if printed[attempt.attempt] != attempt.how:
                _print_attempt(attempt, printed, as_json)
        quiet = quiet + 1 if follower.finished and not lines else 0
        if quiet < QUIET_POLLS:
            time.sleep(POLL_S)


def _print_attempt(attempt: AttemptLog, printed: dict[int, str], as_json: bool) -> None:
    """Print an attempt's header, and record the attempt's outcome in `printed`."""
    printed[attempt.attempt] = attempt.how
    if as_json:
        print_json(attempt.model_dump_json(exclude={"lines"}))
    else:
        print_text(_header(attempt))


def _header(attempt: AttemptLog) -> str:
    return f"---- {stamp(attempt.ended or attempt.began)} {attempt.title}"


def _line_json(attempt: int, line: Line) -> str:
    return f'{{"attempt":{attempt},{line.model_dump_json()[1:]}'
