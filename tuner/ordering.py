"""In which order trials are shown."""

from tuner.study.state import StudyState, Trial, TrialState


def by_interest(state: StudyState) -> list[Trial]:
    """Return the trials that run, then those that have ended, the best first, then the others."""
    sign = -1.0 if state.direction == "max" else 1.0
    ranks = {TrialState.RUNNING: 0, TrialState.COMPLETED: 1, TrialState.STOPPED: 1, TrialState.QUEUED: 2}

    def key(trial: Trial) -> tuple[int, float, str]:
        return ranks.get(trial.state, 3), sign * (trial.score or 0.0), trial.trial_id

    return sorted(state.trials.values(), key=key)
