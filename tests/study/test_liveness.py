"""Whether a study runs, judged by the age of its newest record and by its leased trials."""

import pytest

from tuner.config.loading import load
from tuner.names import TrialId
from tuner.study.records import (
    AttemptEnded,
    Created,
    Ended,
    Finished,
    Leased,
    ModelSizes,
    Opened,
    Outcome,
    Record,
    Reported,
    TrialState,
)
from tuner.study.state import StudyState
from tuner.study.status import Activity, liveness
from tuner.study.views import view_study

ONE, TWO = TrialId("00000"), TrialId("00001")
BEGAN = 1_000_000.0
EPOCH_S = 50.0


def state_after(*records: Record) -> StudyState:
    state = StudyState()
    for record in records:
        state.apply(record)
    return state


def opened(at: float = BEGAN, term: int = 1) -> Opened:
    study = load(settings=["search.max_trials=4", "training.epochs=5", "search.early_stopping.policy=none"])
    return Opened(at=at, term=term, writer="w", study=study, data="d", direction="max")


def leased(at: float = BEGAN + 10, trial: TrialId = ONE, attempt: int = 1) -> Leased:
    return Leased(at=at, trial=trial, attempt=attempt, worker="w", incarnation="i")


def created(trial: TrialId = ONE) -> Created:
    return Created(at=BEGAN + 10, trial=trial, hyperparameters={"units": 3, "rate": 0.5}, algorithm={})


def reported(epoch: int, trial: TrialId = ONE) -> Reported:
    at = BEGAN + 10 + EPOCH_S * (epoch + 1)
    return Reported(at=at, trial=trial, attempt=1, epoch=epoch, metrics={"val_accuracy": 0.5}, checkpoint="c")


TRAINING = (opened(), created(), leased(), reported(0), reported(1))
LAST = TRAINING[-1].at


@pytest.mark.parametrize(
    ("silent_s", "activity"),
    [(0, Activity.RUNNING), (2 * EPOCH_S, Activity.RUNNING), (3600, Activity.NOT_RUNNING), (-5, Activity.RUNNING)],
)
def test_a_study_with_leased_trials_runs_unless_it_is_silent_for_far_longer_than_its_epochs_take(
    silent_s: float, activity: Activity
) -> None:
    alive = liveness(state_after(*TRAINING), LAST + silent_s)
    assert (alive.activity, alive.leased, alive.silent_s) == (activity, 1, max(0.0, silent_s))


def test_the_first_epoch_of_a_study_may_take_long() -> None:
    assert liveness(state_after(opened(), created(), leased()), BEGAN + 1800).activity is Activity.RUNNING


STOPPED = AttemptEnded(at=LAST + 1, trial=ONE, attempt=1, outcome=Outcome.PREEMPTED, reason="the worker was asked")


@pytest.mark.parametrize(
    ("silent_s", "activity"), [(5, Activity.RUNNING), (120, Activity.UNKNOWN), (3600, Activity.NOT_RUNNING)]
)
def test_a_study_without_leased_trials_is_between_two_starting_or_stopped(silent_s: float, activity: Activity) -> None:
    state = state_after(*TRAINING, STOPPED)
    assert liveness(state, STOPPED.at + silent_s).activity is activity


def test_a_finished_search_is_finished_however_old_it_is() -> None:
    ended = Ended(at=LAST + 1, trial=ONE, attempt=1, state=TrialState.COMPLETED, score=0.5, best_epoch=0)
    state = state_after(*TRAINING, ended, Finished(at=LAST + 2, reason="all trials have ended"))
    view = view_study(state, LAST + 10**6)
    assert (view.state, view.activity, view.elapsed_s, view.remaining_s) == (
        "finished", Activity.FINISHED, LAST + 2 - BEGAN, None,
    )  # fmt: skip
    assert view.best_hyperparameters == {"units": 3, "rate": 0.5}


def test_the_remaining_time_follows_from_the_speed_since_the_newest_chief_started() -> None:
    view = view_study(state_after(*TRAINING), LAST)
    assert view.elapsed_s == LAST - BEGAN
    per_epoch = (LAST - BEGAN) / 2
    assert view.remaining_s == pytest.approx((4 * 5 - 2) * per_epoch, rel=0.01)
    night = 8 * 3600
    continued = (STOPPED, opened(LAST + night, 2), leased(LAST + night, attempt=2))
    later = Reported(at=LAST + night + 10, trial=ONE, attempt=2, epoch=2, metrics={"val_accuracy": 0.5}, checkpoint="c")
    view = view_study(state_after(*TRAINING, *continued, later), later.at)
    assert view.elapsed_s == later.at - BEGAN
    assert view.remaining_s == pytest.approx((4 * 5 - 3) * 10, rel=0.01)


def test_a_study_of_an_earlier_version_has_a_view() -> None:
    state = state_after(*TRAINING)
    state.began = state.opened = state.last_record = None  # as a snapshot of that version has them
    view = view_study(state, LAST)
    assert (view.activity, view.elapsed_s, view.remaining_s, view.last_record_s) == (Activity.UNKNOWN, None, None, None)


def test_the_models_sizes_are_those_of_the_newest_chief() -> None:
    sizes = ModelSizes(parameters=1000, checkpoint_bytes=12_000)
    state = state_after(opened().model_copy(update={"model_sizes": sizes}))
    assert view_study(state, BEGAN).model_sizes == sizes
    state.apply(opened(BEGAN + 1, 2))
    assert view_study(state, BEGAN + 1).model_sizes is None
