"""The base of all search algorithms: Keras Tuner's oracles, with a state that can be saved and restored exactly.

Only `populate_space` of Keras Tuner's oracles is used. The oracles' other state cannot be saved (the grid's position,
the Gaussian process's random state), and includes neither leases nor early stopping. Therefore each suggestion contains
the state from which its algorithm continues (`algorithm`). A restarted chief passes the study's state to `restore`, and
gets the same suggestions as a chief that was never interrupted.

A suggestion depends on the seed, the space and the suggestions before it. With grid search, it also depends on the
order in which trials ended. With Hyperband and the algorithms that fit a model (Gaussian process, TPE), it depends on
that order and on the results known at that time.
"""

import copy
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from tuner.errors import SpaceError
from tuner.names import TrialId
from tuner.search.suggester.observation import Observation, observation_of
from tuner.search.suggester.untried import REJECTIONS, UntriedValues
from tuner.spaces.exploration import activate
from tuner.spaces.first_points import completed_point
from tuner.study.records import TrialState, Value
from tuner.study.state import StudyState
from tuner.study.trial import Trial

if TYPE_CHECKING:
    import keras_tuner

log = logging.getLogger(__name__)

REJECTED = "rejected"
"""Key of a suggestion's `algorithm` state: the configurations that a constraint rejected before this suggestion."""
RECORDED = 1_000
"""Maximum number of rejected configurations that are recorded with a suggestion, so that its record stays small. A
restarted chief counts the parameters of the others again."""


CONTINUES = "CONTINUES"
"""Status of an answer of `Suggester._populate`, in addition to those of Keras Tuner: see NoSuggestion.CONTINUE."""


@dataclass(frozen=True)
class Suggestion:
    """Values for one trial, and the state from which the algorithm continues."""

    trial: TrialId
    values: dict[str, Value]
    algorithm: dict[str, Any]


class NoSuggestion(Enum):
    """Why there is no suggestion."""

    CONTINUE = auto()  # no configuration has been found yet, and the next call looks further
    WAIT = auto()  # the next suggestion depends on trials that are still running
    EXHAUSTED = auto()  # there will be no more, because max_trials is reached or the space has no further values


@dataclass(frozen=True)
class Restrictions:
    """What the settings say about the configurations that an algorithm may suggest."""

    first: Sequence[Mapping[str, Value]] = ()
    """Complete configurations that are suggested before all others (search.first)."""
    is_rejected: Callable[[Mapping[str, Value]], bool] | None = None
    """Whether a constraint rejects a configuration (search.constraints); None if there is no constraint."""


UNRESTRICTED = Restrictions()


@dataclass(frozen=True)
class Point:
    """A configuration with what is known about it."""

    values: Mapping[str, Value]
    observation: Observation


class Suggester:
    """Random search, and the base class of the other algorithms. Not thread-safe. A suggestion may take seconds."""

    slow = False
    """Whether a suggestion takes so long that it should be started before a worker needs it."""
    rejections = REJECTIONS
    """Maximum number of configurations that a constraint may reject in one call of `suggest`."""

    def __init__(
        self, oracle: "keras_tuner.Oracle", max_trials: int | None, restrictions: Restrictions = UNRESTRICTED
    ) -> None:
        self._oracle = oracle
        self._oracle.verbose = 0
        self._max_trials = max_trials
        self._untried = UntriedValues(oracle, restrictions.first, restrictions.is_rejected)
        self._oracle._random_values = self._untried.draw  # Keras Tuner's oracles call it for every random trial
        self._observed: dict[TrialId, Observation] = {}
        self._repetitions = 0
        """Number of trials that earlier chiefs repeated (search.confirm). Their ids are not free."""
        self._learned: list[Point] = []
        """Trials of earlier studies (search.learn_from)."""

    def suggest(self) -> Suggestion | NoSuggestion:
        """Return the next suggestion, and register it as a running trial until `ended` is called."""
        number = len(self._oracle.trials)
        if self._max_trials is not None and number >= self._max_trials:
            return NoSuggestion.EXHAUSTED
        trial = TrialId(f"{number + self._repetitions:05d}")
        self._untried.begin(number, self.rejections)
        response = self._populate(trial, number)
        if response["status"] == "RUNNING":
            # the values returned include Keras Tuner's defaults of active hyperparameters that the algorithm omitted
            values = self._register(trial, response["values"])
            rejected = self._untried.rejected_now[:RECORDED]
            return Suggestion(trial, values, {**self._state(), **({REJECTED: rejected} if rejected else {})})
        if response["status"] == "IDLE":
            return NoSuggestion.WAIT
        if response["status"] == CONTINUES:
            return NoSuggestion.CONTINUE
        if rejected := self._untried.rejected_now:
            log.warning(
                "search.constraints rejected %d configurations in a row, so there are no more suggestions after %d "
                "trials. Allow larger models, or restrict the space to smaller ones with space.values",
                len(rejected),
                number,
            )
        return NoSuggestion.EXHAUSTED

    def restore(self, state: StudyState) -> None:
        """Continue where the suggester of an earlier chief stopped. Must be called before the first suggestion."""
        self._learn(state)
        for values in state.control.enqueued:
            self.enqueue(values)
        self._repetitions = len(state.repetitions)
        remaining = Counter(state.steps)
        for trial_id in state.steps:
            trial = state.trials[trial_id]
            if trial.repeats is not None:
                continue
            remaining[trial_id] -= 1
            if trial_id in self._oracle.trials:
                if remaining[trial_id] or trial.ended is None:  # it was paused then, or it failed and was retried later
                    state_then = TrialState.FAILED if trial.paused_score is None else TrialState.PAUSED
                    self.ended(trial_id, state_then, trial.paused_score, trial.best_epoch)
                else:
                    self.ended(trial_id, trial.state, trial.score, trial.best_epoch, _is_stopped_by_user(trial))
            else:
                self._untried.restore(trial.algorithm.get(REJECTED, ()))
                self._restore(trial_id, trial.algorithm)
                self._register(trial_id, self._completed(trial.hyperparameters))
        for trial in state.suggested:
            self.observe(observation_of(trial))

    def completed(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return the configuration with these values, and the defaults of all other hyperparameters.

        Raises SpaceError if it is outside the space, has been tried or is enqueued, or if a constraint rejects it.
        """
        completed = completed_point(self._oracle.hyperparameters, values, "enqueue")
        if refusal := self._untried.refusal(completed):
            raise SpaceError(refusal)
        return completed

    def enqueue(self, values: Mapping[str, Value]) -> None:
        """Suggest a complete configuration before all others that are not enqueued yet, as those of search.first."""
        self._untried.enqueue(values)

    def observe(self, observation: Observation) -> None:
        """Register what is now known about a trial: a rung that it has reached, or that it was paused or has ended."""
        self._observed[observation.trial] = observation

    def ended(
        self, trial_id: TrialId, state: TrialState, score: float | None, best_epoch: int | None, by_user: bool = False
    ) -> None:
        """Register the end of a trial. A trial that is retried ends several times, and at first is FAILED.

        `by_user` is whether a user has stopped it. Only Hyperband, which continues trials, makes a difference then.
        """
        trial = self._oracle.trials[trial_id]
        is_first = trial.status == "RUNNING"
        # in Keras Tuner a STOPPED trial has no score
        trial.status = "FAILED" if state is TrialState.FAILED else "COMPLETED"
        trial.score, trial.best_step = score, best_epoch or 0
        self._oracle.ongoing_trials.pop(trial_id, None)
        known = self._observed.get(trial_id)
        if known is None or known.state is not state:  # otherwise `observe` knows more
            rungs = known.rungs if known else {}
            is_final = state is not TrialState.PAUSED
            self.observe(
                Observation(
                    trial_id, state, rungs, score if is_final else None, (best_epoch or 0) + 1 if is_final else 0
                )
            )
        if is_first:
            self._oracle.end_order.append(trial_id)
            self._ended(trial_id)

    def _learn(self, state: StudyState) -> None:
        for learned in state.learned:
            observation = Observation(
                TrialId(f"{learned.study}/{learned.trial}"),
                TrialState.COMPLETED if learned.completed else TrialState.STOPPED,
                learned.rungs,
                learned.score,
                learned.epochs,
            )
            self._learned.append(Point(learned.hyperparameters, observation))
            self._untried.learn(learned.hyperparameters)

    def _points(self) -> list[Point]:
        """Return everything that a model may be fitted to.

        These are the trials of earlier studies, all trials of this study, and the rejected configurations as failures.
        """
        own = [
            Point(trial.hyperparameters.values, self._observed.get(trial_id) or _running(trial_id))
            for trial_id, trial in self._oracle.trials.items()
        ]
        rejected = [Point(values, _FAILED) for values in self._untried.rejected]
        return [*self._learned, *own, *rejected]

    def _completed(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Add defaults for hyperparameters that were not yet known when the trial was created."""
        hyperparameters = copy.copy(self._oracle.hyperparameters)
        hyperparameters.values = dict(values)
        activate(hyperparameters)
        return {**hyperparameters.values, **values}

    def _register(self, trial: TrialId, values: dict[str, Value]) -> dict[str, Value]:
        from keras_tuner.engine.trial import Trial

        # all trials share one description of the space, because there may be thousands of trials
        hyperparameters = copy.copy(self._oracle.hyperparameters)
        hyperparameters.values = dict(values)
        keras_trial = Trial(hyperparameters=hyperparameters, trial_id=trial)
        self._oracle._record_values(keras_trial)
        self._oracle.trials[trial] = keras_trial
        self._oracle.ongoing_trials[trial] = keras_trial
        self._oracle.start_order.append(trial)
        return dict(hyperparameters.values)

    # overridden by the algorithms

    def _populate(self, trial: TrialId, number: int) -> dict[str, Any]:
        """Return Keras Tuner's answer for suggestion `number` (from 0): its `status`, and its `values` if RUNNING."""
        response: dict[str, Any] = self._oracle.populate_space(trial)
        return response

    def _state(self) -> dict[str, Any]:
        return {"seed_state": self._oracle._seed_state}

    def _restore(self, trial: TrialId, algorithm: dict[str, Any]) -> None:
        """Restore the state after a suggestion. Called before the suggestion is registered."""
        self._oracle._seed_state = algorithm["seed_state"]

    def _ended(self, trial: TrialId) -> None:
        """Update the state after a trial has ended."""


_FAILED = Observation(TrialId(""), TrialState.FAILED)


def _is_stopped_by_user(trial: Trial) -> bool:
    """Return whether a user has stopped a trial, and not only the search, which may be continued."""
    return trial.state is TrialState.STOPPED and trial.ending is not None


def _running(trial: TrialId) -> Observation:
    return Observation(trial, TrialState.RUNNING)
