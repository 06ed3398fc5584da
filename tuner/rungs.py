"""Which trials have reached each rung of early stopping, and which were stopped there."""

from dataclasses import dataclass, field

from tuner.study.state import StudyState, TrialState


@dataclass(frozen=True)
class AtRung:
    """What a rung has seen."""

    values: list[float] = field(default_factory=list)
    """With which objective each trial reached it, of those that did not fail: they are compared with no longer."""
    stopped: list[float] = field(default_factory=list)
    """Of these, those that were stopped there."""


def at_rungs(state: StudyState) -> dict[int, AtRung]:
    """Return what each rung that was reached has seen, by its number, in order."""
    found: dict[int, AtRung] = {}
    for trial in state.trials.values():
        if trial.state is TrialState.FAILED:
            continue
        for rung, value in trial.rungs.items():
            at = found.setdefault(rung, AtRung())
            at.values.append(value)
            if trial.state is TrialState.STOPPED and rung == max(trial.rungs):
                at.stopped.append(value)
    return dict(sorted(found.items()))
