"""Studies as a chief has them in memory, built by its own oracle: small, large, and with hostile content."""

import math
import random
from collections.abc import Callable

from tuner.config.loading import load
from tuner.live_page.live_state import LiveState
from tuner.names import TrialId
from tuner.search.claims import AttemptClaim, Instant
from tuner.search.leases import Worker
from tuner.search.oracle import Oracle
from tuner.search.suggester import Suggestion
from tuner.study.records import FaultScope, Finished, Opened, Outcome, TrialState, Value
from tuner.study.state import StudyState
from tuner.study.status import EvaluationState, EvaluationSummary, WorkerState, WorkerStatus
from tuner.study.trial import Trial

EPOCHS = 12
START = 1_700_000_000.0
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\u202e🙂\"'&amp;" + "W" * 5000
NAME = "".join(filter(str.isprintable, HOSTILE))[:180]
"""As hostile as a worker's and a metric's name may be."""
TRACEBACK = "ValueError: broken\nTraceback (most recent call last):\n" + '  File "model.py", line 1, in fit\n' * 20


def open_study(trials: int, name: str = "cifake-night", objective: str = "val_accuracy") -> StudyState:
    state = StudyState()
    settings = [f"name={name}", f"search.max_trials={trials}", f"training.epochs={EPOCHS}", "retries.failure=0"]
    direction = "min" if "loss" in objective else "max"
    study = load(settings=[*settings, f"search.objective={objective}"])
    state.apply(Opened(at=START, term=1, writer="w", study=study, data="d", direction=direction))
    return state


def hyperparameters(chance: random.Random) -> dict[str, Value]:
    return {
        "filters": chance.randrange(16, 129, 16),
        "kernel_size": chance.choice([3, 5]),
        "units": chance.choice([250, 500, 1000]),
        "dropout": round(chance.random() / 2, 1),
        "learning_rate": 10 ** chance.uniform(-4, -2),
        "augment": chance.random() < 0.5,
        "optimizer": chance.choice(["adam", "sgd", "rmsprop"]),
    }


def searched(planned: int, begun: int, workers: int = 4) -> StudyState:
    """Return a study with that many trials, the last of which are still running."""
    chance, state = random.Random(1), open_study(planned)
    oracle = Oracle(state, Instant(START, 0.0))
    now = 0.0
    for number in range(begun):
        now += 40 / workers
        trial = TrialId(f"{number:05d}")
        oracle.add(Suggestion(trial, hyperparameters(chance), {}), instant(now))
        worker = Worker(f"cifake-tune-worker-{number % workers}", "1")
        attempt = take(oracle, worker, now)
        skill = 0.5 + 0.46 * chance.random() ** 0.4
        fate = chance.random()
        ends = number < begun - workers
        for epoch in range(EPOCHS if ends else 1 + number % 5):
            value = 0.5 + (skill - 0.5) * (1 - math.exp(-0.5 * (epoch + 1))) + chance.gauss(0, 0.004)
            metrics = {
                "accuracy": min(1.0, value + 0.01 * epoch / 3), "loss": 1.4 * (1 - value),
                "val_accuracy": value, "val_loss": 1.5 * (1 - value),
            }  # fmt: skip
            oracle.report(attempt, epoch, metrics, f"{trial}-{epoch}.keras", instant(now + 3 * epoch))
            if oracle.state.trials[trial].state is TrialState.STOPPED:
                break
        else:
            if ends and fate < 0.03:
                oracle.give_back(attempt, Outcome.FAILED, TRACEBACK, instant(now + 36))
            elif ends:
                oracle.complete(attempt, instant(now + 36))
    return state


def take(oracle: Oracle, worker: Worker, now: float) -> AttemptClaim:
    trial, _ = oracle.grant(worker, instant(now))
    assert trial is not None
    return AttemptClaim(worker, trial.trial_id, trial.attempts)


def instant(seconds: float) -> Instant:
    return Instant(START + seconds, seconds)


def hostile() -> StudyState:
    """Return a study whose every text wants to be markup, and whose numbers are none."""
    state = open_study(5)
    oracle = Oracle(state, Instant(START, 0.0))
    values: dict[str, Value] = {
        HOSTILE: HOSTILE, "nan": math.nan, "inf": -math.inf, "big": 10**30, "__proto__": "<b>x</b>", "constructor": "y",
    }  # fmt: skip
    for number in range(4):
        oracle.add(Suggestion(TrialId(f"{number:05d}"), values | {f"only-{number}": number}, {}), instant(0))
    worker = Worker(NAME, "1")
    first = take(oracle, worker, 1)
    for epoch, value in enumerate([0.5, math.nan, 1.7e308, -math.inf, -1.7e308, 1e20, 1e20 + 2**14]):
        metrics = {"val_accuracy": value, NAME: value}
        oracle.report(first, epoch, metrics, f"{epoch}.keras", instant(2 + epoch))
    oracle.complete(first, instant(9))
    oracle.give_back(take(oracle, worker, 10), Outcome.FAILED, f"{HOSTILE}\n{HOSTILE}", instant(11))
    oracle.give_back(take(oracle, worker, 12), Outcome.LOST, HOSTILE, instant(13))
    take(oracle, worker, 14)
    return state


def failed() -> StudyState:
    """Return a study whose two trials failed before their first epoch."""
    state = open_study(2)
    oracle, worker = Oracle(state, Instant(START, 0.0)), Worker("cifake-tune-worker-0", "1")
    for number in range(2):
        oracle.add(Suggestion(TrialId(f"{number:05d}"), {}, {}), instant(number))
        oracle.give_back(take(oracle, worker, number), Outcome.FAILED, TRACEBACK, instant(number + 0.5))
    return state


def faulty() -> StudyState:
    """Return a study whose search ended because its first trial showed a fault that every trial has."""
    state = open_study(1)
    oracle, worker = Oracle(state, Instant(START, 0.0)), Worker("cifake-tune-worker-0", "1")
    oracle.add(Suggestion(TrialId("00000"), {}, {}), instant(0))
    oracle.give_back(
        take(oracle, worker, 0), Outcome.INVALID, "the model has no loss", instant(1), scope=FaultScope.STUDY
    )
    return state


def finish(state: StudyState) -> StudyState:
    state.apply(Finished(at=START + 3600, reason="all trials have ended"))
    return state


def watched(
    state: StudyState, remaining_s: float | None = 5400.0, result: EvaluationSummary | None = None
) -> Callable[[], LiveState]:
    """Return a source of LiveStates of a study with live workers; with a result, the study has been evaluated."""
    evaluation = EvaluationState.DONE if result else EvaluationState.WAITING

    def taken() -> LiveState:
        running = [trial for trial in state.trials.values() if trial.state is TrialState.RUNNING]
        workers = [_heard(trial, index) for index, trial in enumerate(running)]
        workers += [WorkerStatus(
            worker="cifake-tune-worker-98", trial=None, attempt=0, epoch=0, progress=0, images_per_s=0, silent_s=1.2,
        )]  # fmt: skip
        states = {worker.worker: WorkerState.TRAINING if worker.trial else WorkerState.IDLE for worker in workers}
        if running:
            states[workers[0].worker] = WorkerState.SILENT
        return LiveState(
            at=max((trial.started or START for trial in state.trials.values()), default=START) + 60,
            state=state, evaluation=evaluation, result=result, workers=tuple(workers),
            worker_states=states, remaining_s=remaining_s,
        )  # fmt: skip

    return taken


def _heard(trial: Trial, index: int) -> WorkerStatus:
    return WorkerStatus(
        worker=trial.worker or "?", trial=trial.trial_id, attempt=trial.attempts, epoch=len(trial.epochs),
        progress=(0.37 * index) % 1, images_per_s=2053.4 - index, silent_s=0.4 if index else 95.0,
        gpus=1, device=f"GPU {index}",
    )  # fmt: skip
