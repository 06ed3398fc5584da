"""How `cifake-tune logs` prints a trial's log."""

import time

from pydantic import TypeAdapter

from tuner.study.attempt_logs import AttemptLog, Follower, Line, stamp

POLL_S = 1.0
QUIET_POLLS = 3
"""The last lines of an attempt come a little after the journal's word that it has ended."""

_LOGS: TypeAdapter[list[AttemptLog]] = TypeAdapter(list[AttemptLog])


def show(attempts: list[AttemptLog], as_json: bool) -> None:
    """Print all there is: a header an attempt, then its lines; or one JSON list of attempts."""
    if as_json:
        print(_LOGS.dump_json(attempts, indent=2).decode())  # noqa: T201
        return
    for attempt in attempts:
        print(_header(attempt))  # noqa: T201
        for line in attempt.lines:
            print(line.encoded())  # noqa: T201


def follow(follower: Follower, as_json: bool) -> None:
    """Print what there is and what comes, until the trial has ended; as JSON, an object a line."""
    told: dict[int, str] = {}
    quiet = 0
    while quiet < QUIET_POLLS:
        attempts = follower.attempts()
        lines = list(follower.new_lines())
        for attempt in attempts:
            if attempt.attempt not in told:
                _tell(attempt, told, as_json)
            for number, line in lines:
                if number == attempt.attempt:
                    print(_line_json(number, line) if as_json else line.encoded(), flush=True)  # noqa: T201
            if told[attempt.attempt] != attempt.how:
                _tell(attempt, told, as_json)
        quiet = quiet + 1 if follower.finished and not lines else 0
        if quiet < QUIET_POLLS:
            time.sleep(POLL_S)


def _tell(attempt: AttemptLog, told: dict[int, str], as_json: bool) -> None:
    told[attempt.attempt] = attempt.how
    print(attempt.model_dump_json(exclude={"lines"}) if as_json else _header(attempt), flush=True)  # noqa: T201


def _header(attempt: AttemptLog) -> str:
    return f"---- {stamp(attempt.ended or attempt.began)} {attempt.title}"


def _line_json(attempt: int, line: Line) -> str:
    return f'{{"attempt":{attempt},{line.model_dump_json()[1:]}'
