"""A study's state as metrics, read off at each scrape: they come from the journal, so they outlive a chief."""

from collections import Counter
from collections.abc import Callable, Iterable

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tuner.config.settings import Algorithm
from tuner.monitoring import catalogue
from tuner.monitoring.catalogue import reading
from tuner.study.progress import epochs_saved
from tuner.study.records import Outcome, TrialState
from tuner.study.rungs import at_rungs
from tuner.study.state import StudyState
from tuner.study.status import SearchState, search_state

INTERRUPTED = (Outcome.PREEMPTED, Outcome.LOST)


class Readings(Collector):
    """Metrics that `read` makes at each scrape; it may be replaced."""

    def __init__(self) -> None:
        self.read: Callable[[], Iterable[Metric]] = list

    def describe(self) -> Iterable[Metric]:
        """Return none: what is read is known at a scrape only."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Return what is read now."""
        return self.read()


def study_metrics(state: StudyState) -> list[Metric]:
    """Return what the journal says of a study."""
    if state.study is None:
        return []
    trials = state.trials.values()
    states = Counter(trial.state for trial in trials)
    best = state.best()
    started = min((trial.started for trial in trials if trial.started), default=None)
    search = state.settings.search
    rungs = at_rungs(state)
    metrics = [
        reading(catalogue.SEARCH, {(each,): each is search_state(state) for each in SearchState}),
        reading(catalogue.TRIALS, {(each.lower(),): states[each] for each in TrialState}),
        reading(catalogue.ATTEMPTS, _attempts(state)),
        reading(catalogue.EPOCHS, {(): sum(len(trial.epochs) for trial in trials)}),
        reading(catalogue.EPOCHS_SAVED, {(): epochs_saved(state)}),
        reading(catalogue.RUNG_REACHED, {(str(rung),): len(at.values) for rung, at in rungs.items()}),
        reading(catalogue.RUNG_STOPPED, {(str(rung),): len(at.stopped) for rung, at in rungs.items()}),
        reading(catalogue.TERM, {(): state.term}),
    ]
    if search.algorithm is not Algorithm.HYPERBAND:
        metrics.append(reading(catalogue.TRIALS_PLANNED, {(): search.max_trials}))
    if started is not None:
        metrics.append(reading(catalogue.SEARCH_STARTED, {(): started}))
    if state.finished is not None:
        metrics.append(reading(catalogue.SEARCH_ENDED, {(): state.finished.at}))
    if best and best[0].score is not None and best[0].ended is not None:
        metrics.append(reading(catalogue.BEST_SCORE, {(): best[0].score}))
        metrics.append(reading(catalogue.BEST_SCORE_SINCE, {(): best[0].ended}))
    return metrics


def _attempts(state: StudyState) -> dict[tuple[str, ...], float]:
    ended = Counter(trial.state for trial in state.trials.values())
    outcomes: Counter[Outcome] = Counter()
    for trial in state.trials.values():
        if trial.outcomes:  # few have any, and there may be thousands
            outcomes.update(trial.outcomes)
    return {
        ("finished", "completed"): ended[TrialState.COMPLETED],
        ("finished", "stopped"): ended[TrialState.STOPPED],
        **{("interrupted" if each in INTERRUPTED else "failed", each.value): outcomes[each] for each in Outcome},
    }
