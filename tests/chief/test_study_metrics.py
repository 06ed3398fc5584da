"""The metrics of a study: computed from the journal's records, and no counter ever falls."""

from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry

from tests.support.records import state_of
from tuner.chief.metrics import study_metrics
from tuner.config.loading import load
from tuner.live_page.live_state import LiveState
from tuner.live_page.overview import overview
from tuner.monitoring.catalogue import Readings
from tuner.monitoring.metric_names import Metric
from tuner.names import TrialId
from tuner.report.rungs import rungs_of
from tuner.study.records import (
    AttemptEnded,
    Created,
    Ended,
    Finished,
    Leased,
    Opened,
    Outcome,
    Paused,
    Record,
    Reported,
    TrialState,
    Withdrawn,
)
from tuner.study.status import EvaluationState

ONE, TWO, THREE = TrialId("00000"), TrialId("00001"), TrialId("00002")


def metrics_of(*records: Record, settings: Sequence[str] = ()) -> CollectorRegistry:
    """Return a registry with the metrics of a study with these records."""
    opened = Opened(at=0, term=1, writer="w", study=load(settings=settings), data="d", direction="max")
    state = state_of((opened, *records))
    registry = CollectorRegistry()
    registry.register(Readings(lambda: study_metrics(state)))
    return registry


def created(*trials: TrialId) -> list[Record]:
    return [Created(at=1, trial=trial, hyperparameters={}, algorithm={}) for trial in trials]


def leased(trial: TrialId, attempt: int = 1, at: float = 10) -> Leased:
    return Leased(at=at, trial=trial, attempt=attempt, worker="w", incarnation="1")


def reported(trial: TrialId, epoch: int, value: float, attempt: int = 1) -> Reported:
    saved = f"{trial}/{epoch}"
    return Reported(at=20, trial=trial, attempt=attempt, epoch=epoch, metrics={"val_accuracy": value}, checkpoint=saved)


def ended(trial: TrialId, state: TrialState, score: float | None = None, **more: object) -> Ended:
    best = None if score is None else 0
    return Ended(at=30, trial=trial, attempt=1, state=state, score=score, best_epoch=best, **more)


def value(registry: CollectorRegistry, metric: Metric, **labels: str) -> float | None:
    return registry.get_sample_value(metric, labels)


def test_trials_are_counted_by_state_and_attempts_by_outcome_and_reason() -> None:
    registry = metrics_of(
        *created(ONE, TWO, THREE),
        leased(ONE),
        reported(ONE, 0, 0.75),
        ended(ONE, TrialState.COMPLETED, 0.75),
        leased(TWO),
        AttemptEnded(at=20, trial=TWO, attempt=1, outcome=Outcome.PREEMPTED, reason="asked to stop"),
        leased(THREE),
        ended(THREE, TrialState.FAILED, outcome=Outcome.OUT_OF_MEMORY, reason="no memory"),
    )
    states = {state: value(registry, Metric.TRIALS, state=state.lower()) for state in TrialState}
    assert states == {"QUEUED": 1, "PAUSED": 0, "RUNNING": 0, "COMPLETED": 1, "STOPPED": 0, "FAILED": 1}
    assert value(registry, Metric.ATTEMPTS, outcome="finished", reason="completed") == 1
    assert value(registry, Metric.ATTEMPTS, outcome="interrupted", reason="preempted") == 1
    assert value(registry, Metric.ATTEMPTS, outcome="interrupted", reason="lost") == 0
    assert value(registry, Metric.ATTEMPTS, outcome="failed", reason="out_of_memory") == 1
    assert value(registry, Metric.SEARCH_STARTED) == 10


def test_the_best_score_and_when_it_was_reached() -> None:
    registry = metrics_of(*created(ONE), leased(ONE), reported(ONE, 0, 0.75), ended(ONE, TrialState.COMPLETED, 0.75))
    assert value(registry, Metric.BEST_SCORE) == 0.75
    assert value(registry, Metric.BEST_SCORE_SINCE) == 30
    assert value(metrics_of(*created(ONE)), Metric.BEST_SCORE) is None


def test_rungs_show_who_reached_them_and_who_was_stopped_there() -> None:
    registry = metrics_of(
        *created(ONE, TWO),
        *(leased(trial) for trial in (ONE, TWO)),
        *(reported(ONE, epoch, 0.8) for epoch in range(3)),
        reported(TWO, 0, 0.5),
        ended(TWO, TrialState.STOPPED, 0.5, reason="rung 0"),
    )
    assert value(registry, Metric.RUNG_REACHED, rung="0") == 2
    assert value(registry, Metric.RUNG_REACHED, rung="1") == 1
    assert value(registry, Metric.RUNG_STOPPED, rung="0") == 1
    assert value(registry, Metric.RUNG_STOPPED, rung="1") == 0
    assert value(registry, Metric.EPOCHS) == 4


def test_paused_trials_are_counted_at_their_rung_and_their_attempts_once() -> None:
    paused = Paused(at=25, trial=ONE, attempt=1, score=0.5, best_epoch=0, reason="rung 0")
    records = [*created(ONE), leased(ONE), reported(ONE, 0, 0.5), paused]
    until_the_end = [*records, ended(ONE, TrialState.STOPPED, 0.5, reason="rung 0")]
    promoted = [
        *records, leased(ONE, 2), reported(ONE, 1, 0.6, attempt=2),
        Ended(at=40, trial=ONE, attempt=2, state=TrialState.COMPLETED, score=0.6, best_epoch=1),
    ]  # fmt: skip
    for played, state, at_rung, finished in (
        (records, "paused", 1, 0), (until_the_end, "stopped", 0, 0), (promoted, "completed", 0, 1),
    ):  # fmt: skip
        registry = metrics_of(*played, settings=["search.early_stopping.policy=promotion"])
        assert value(registry, Metric.TRIALS, state=state) == 1
        assert value(registry, Metric.RUNG_PAUSED, rung="0") == at_rung
        assert value(registry, Metric.ATTEMPTS, outcome="paused", reason="paused") == 1
        ends = [value(registry, Metric.ATTEMPTS, outcome="finished", reason=r) for r in ("completed", "stopped")]
        assert sum(end or 0 for end in ends) == finished


def test_a_trial_that_failed_has_reached_no_rung_wherever_rungs_are_shown() -> None:
    records = [
        *created(ONE, TWO),
        *(leased(trial) for trial in (ONE, TWO)),
        *(reported(trial, 0, 0.8) for trial in (ONE, TWO)),
        ended(TWO, TrialState.FAILED, outcome=Outcome.FAILED, reason="a bug"),
    ]
    assert value(metrics_of(*records), Metric.RUNG_REACHED, rung="0") == 1
    opened = Opened(at=0, term=1, writer="w", study=load(), data="d", direction="max")
    state = state_of((opened, *records))
    assert [rung.reached for rung in rungs_of(state)] == [1]
    live_state = LiveState(at=40, state=state, evaluation=EvaluationState.WAITING, result=None)
    assert [rung.reached for rung in overview(live_state, "bucket").rungs] == [1]


def test_hyperband_has_no_number_of_trials_that_is_planned() -> None:
    assert value(metrics_of(settings=["search.max_trials=7"]), Metric.TRIALS_PLANNED) == 7
    hyperband = ["search.algorithm=hyperband", "search.early_stopping.policy=none"]
    assert value(metrics_of(settings=hyperband), Metric.TRIALS_PLANNED) is None


def timed(records: Sequence[Record], step_s: float) -> list[Record]:
    """Return the records with a time of the chief, `step_s` from one to the next."""
    return [record.model_copy(update={"served_s": step_s * number}) for number, record in enumerate(records)]


def test_budgets_have_gauges_of_what_is_used_and_of_the_limit() -> None:
    settings = ["search.max_hours=2", "search.max_worker_hours=3", "search.target=0.9", "search.patience_trials=5"]
    records = timed([*created(ONE), leased(ONE), reported(ONE, 0, 0.75), ended(ONE, TrialState.COMPLETED, 0.75)], 900)
    registry = metrics_of(*records, settings=settings)
    assert value(registry, Metric.TRIALS_PLANNED) is None
    expected = {
        "max_hours": (2700, 7200), "max_worker_hours": (1800, 10800), "target": (0.75, 0.9), "patience_trials": (0, 5),
    }  # fmt: skip
    for budget, (used, limit) in expected.items():
        assert value(registry, Metric.BUDGET_USED, budget=budget) == used
        assert value(registry, Metric.BUDGET_LIMIT, budget=budget) == limit
    assert value(metrics_of(*records), Metric.BUDGET_USED, budget="max_hours") is None


def test_the_time_of_workers_has_gauges_and_with_a_price_their_cost() -> None:
    records = timed([*created(ONE), leased(ONE), reported(ONE, 0, 0.75), ended(ONE, TrialState.STOPPED, 0.75)], 900)
    assert value(metrics_of(*records), Metric.WORK_SECONDS, outcome="stopped") == 1800
    assert value(metrics_of(*records), Metric.WORK_COST, outcome="stopped") is None
    registry = metrics_of(*records, settings=["cost.per_worker_hour=3"])
    assert value(registry, Metric.WORK_COST, outcome="stopped") == 1.5
    assert value(registry, Metric.WORK_COST, outcome="idle") == 0


def test_a_trial_that_a_budget_ended_was_not_stopped_at_a_rung_and_saved_no_epochs() -> None:
    records = [*created(ONE), leased(ONE), reported(ONE, 0, 0.8)]
    end = ended(ONE, TrialState.STOPPED, 0.8, budget="search.max_hours")
    registry = metrics_of(*records, end)
    assert value(registry, Metric.RUNG_STOPPED, rung="0") == 0
    assert value(registry, Metric.EPOCHS_SAVED) == 0


@pytest.mark.parametrize(("failed", "state"), [(False, "finished"), (True, "given_up")])
def test_a_search_is_over_in_one_way_or_the_other(failed: bool, state: str) -> None:
    registry = metrics_of(Finished(at=1, reason="because", failed=failed))
    states = {name: value(registry, Metric.SEARCH, state=name) for name in ("running", "finished", "given_up")}
    assert states == dict.fromkeys(states, 0) | {state: 1}
    assert value(registry, Metric.SEARCH_ENDED) == 1
    assert value(metrics_of(), Metric.SEARCH_ENDED) is None


def test_an_attempt_that_was_interrupted_is_counted_once_if_a_budget_then_stops_its_waiting_trial() -> None:
    registry = metrics_of(
        *created(ONE),
        leased(ONE),
        reported(ONE, 0, 0.5),
        AttemptEnded(at=25, trial=ONE, attempt=1, outcome=Outcome.PREEMPTED, reason="r"),
        Withdrawn(at=30, trial=ONE, score=0.5, best_epoch=0, reason="r", budget="search.max_hours"),
    )
    counts = {
        outcome: registry.get_sample_value("cifake_tune_attempts", {"outcome": outcome, "reason": reason})
        for outcome, reason in (("finished", "stopped"), ("interrupted", "preempted"))
    }
    assert counts == {"finished": 0, "interrupted": 1}
