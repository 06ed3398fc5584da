"""The records of a study's journal: the events of the search and of its trials. Only the chief writes records."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from tuner.config.formats import ABSENT, NewestFormat, Versioned
from tuner.config.recorded import RecordedStudy
from tuner.names import ReleaseId, TrialId

Value = bool | int | float | str
"""A hyperparameter's value."""


class TrialState(StrEnum):
    """The states of a trial."""

    QUEUED = "QUEUED"  # waits for a worker that makes its first or next attempt
    PAUSED = "PAUSED"  # waits at a rung until it is promoted; has a checkpoint, from which its next attempt resumes
    RUNNING = "RUNNING"  # leased to a worker
    COMPLETED = "COMPLETED"  # trained to the end; has a score
    STOPPED = "STOPPED"  # stopped early because other trials are better; has a score
    FAILED = "FAILED"  # has used up one of its retry budgets; see `reason`


class Outcome(StrEnum):
    """How an attempt ended if it did not finish its trial. Each outcome has its own retry budget unless noted here."""

    PREEMPTED = "preempted"  # the worker was asked to stop and returned its trial
    LOST = "lost"  # the worker's lease expired or its process was replaced; shares the budget of PREEMPTED
    FAILED = "failed"  # the model or its training raised an exception
    OUT_OF_MEMORY = "out_of_memory"
    INVALID = "invalid"  # never retried, because it would fail again (NaN loss, missing objective)
    ENVIRONMENT = "environment"  # bucket, disk or network failed; always retried, see `AttemptEnd`


class FaultScope(StrEnum):
    """Which trials have the fault that ended an attempt with the outcome INVALID."""

    TRIAL = "trial"  # this trial
    REFUSED = "refused"  # this trial, because the model's own code refuses its hyperparameters
    LIKELY = "likely"  # every trial, unless another trial is running or has been trained for an epoch
    SHARED = "shared"  # every trial, as long as no other trial has been trained for an epoch; otherwise only this one
    STUDY = "study"  # every trial, because the space raised Keras Tuner's FatalError

    def end_of_search(self, trial: TrialId, reason: str) -> str:
        """Return why the search ends after this trial if its fault concerns all trials."""
        if self is FaultScope.STUDY:
            return f"trial {trial} raised FatalError, which ends the search: {reason}"
        return f"every trial would fail as trial {trial} did: {reason}"


class AttemptEnd(Versioned):
    """How an attempt ended, in a form that versions without Outcome.ENVIRONMENT understand as LOST."""

    outcome: Outcome
    failing_s: float | None = None
    """Seconds for which bucket, disk or network had been failing, if that ended the attempt. `outcome` is LOST then."""

    @property
    def cause(self) -> Outcome:
        """The outcome, which is ENVIRONMENT if bucket, disk or network failed."""
        return self.outcome if self.failing_s is None else Outcome.ENVIRONMENT


class _Record(Versioned):
    """Base of all records. Those that readers of format 1.x must not skip or misunderstand have format 2.0."""

    at: float
    """Time by the chief's clock, in seconds since 1970."""
    served_s: float | None = None
    """Seconds since the term's chief began to serve, by its monotonic clock. None in a term's first records, and in
    records of versions before format 1.3."""


class ModelSizes(BaseModel):
    """The sizes of a space's models that are known before the first trial."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    parameters: int
    """Number of parameters with the default hyperparameters."""
    checkpoint_bytes: int
    """Size of a checkpoint of that model: its weights and its optimizer's state."""
    largest_parameters: int | None = None
    """Number of parameters with the largest value of every hyperparameter that is a number."""
    largest_checkpoint_bytes: int | None = None


class Opened(_Record):
    """A chief has started its term, with these settings. The settings determine the format (`study.needed_format`)."""

    kind: Literal["opened"] = "opened"
    term: int
    writer: str
    study: RecordedStudy
    data: str
    direction: Literal["max", "min"]
    """Direction of the objective."""
    start: str = ""
    """Id of the Kubernetes Job that started the chief. A chief that replaces a crashed one has the same id. Empty if a
    user started the chief directly."""
    release: str = ""
    """Name of the chief's release. Empty outside Kubernetes."""
    namespace: str = ""
    """Kubernetes namespace of the release."""
    model_sizes: ModelSizes | None = None
    """None if the chief could not find them out, and in records of earlier versions."""
    space_version: int = 1
    """Version of the built-in space's networks (`tuner.spaces.versions`), as in records of earlier versions."""
    algorithm_version: int = 1
    """Version of the search algorithm (`tuner.study.algorithm_versions`), as in records of earlier versions."""
    notes: tuple[str, ...] = ()
    """Sentences about the settings, such as a value of a script that a setting overrides."""
    script_digest: str = ""
    """SHA-256 of the script. Empty without a script, and in records of earlier versions."""

    @property
    def release_id(self) -> ReleaseId | None:
        """The chief's release; None outside Kubernetes, and in records with a format before 1.1."""
        return ReleaseId(self.release, self.namespace) if self.release else None


class Created(_Record):
    """The search algorithm has suggested a trial, or a trial of the search is repeated (then with format 2.0)."""

    kind: Literal["created"] = "created"
    trial: TrialId
    hyperparameters: dict[str, Value]
    algorithm: dict[str, Any]
    """State from which the algorithm continues after this suggestion (`tuner.search.suggester`). Of a repetition, that
    of the newest suggestion, so that versions which do not know repetitions can continue the search."""
    repeats: TrialId | None = None
    """The trial whose hyperparameters this one repeats with another seed (search.confirm); None if the search
    algorithm has suggested it."""


class Leased(_Record):
    """The trial has been leased to a worker for attempt number `attempt` (from 1)."""

    kind: Literal["leased"] = "leased"
    trial: TrialId
    attempt: int
    worker: str
    incarnation: str


class Reported(_Record):
    """An epoch (numbered from 0) has been trained. `checkpoint` names the object with the model after this epoch."""

    kind: Literal["reported"] = "reported"
    trial: TrialId
    attempt: int
    epoch: int
    metrics: dict[str, float]
    checkpoint: str | None = None
    sha256: str | None = None
    """Checksum of the object that `checkpoint` names."""
    verified: bool | None = None
    """Whether the worker recomputed the objective with the saved model; see `tuner.study.evidence`."""
    returned: bool = False
    """Whether the space's own `fit` returned the objective. Then this epoch is the trial's best epoch, and the record
    has format 2.0, because another reader would compare the objective with those of other epochs."""
    start_s: float | None = None
    """Seconds from the lease to the end of the attempt's first training step, as its worker measured them. None in
    records of earlier versions and of Keras Tuner's own workers."""


class AttemptEnded(AttemptEnd, _Record):
    """An attempt has ended without finishing its trial, which is queued again."""

    kind: Literal["attempt_ended"] = "attempt_ended"
    trial: TrialId
    attempt: int
    reason: str
    requested: bool = False
    """Whether the worker handed the trial back because a user has paused the search. No retry budget counts it."""


class Paused(_Record):
    """The trial waits at the rung that it has reached. Its next attempt is leased if the trial is promoted.

    A reader must not skip this record, because such an attempt would contradict the attempt before it.
    """

    format: NewestFormat = ABSENT
    kind: Literal["paused"] = "paused"
    trial: TrialId
    attempt: int
    score: float | None = None
    """Objective of the best epoch so far."""
    best_epoch: int | None = None
    reason: str = ""

    @property
    def state(self) -> TrialState:
        """The trial's state, as in the record Ended."""
        return TrialState.PAUSED


class Ended(_Record):
    """The trial has ended."""

    kind: Literal["ended"] = "ended"
    trial: TrialId
    attempt: int
    state: Literal[TrialState.COMPLETED, TrialState.STOPPED, TrialState.FAILED]
    outcome: Outcome | None = None
    """Outcome of the last attempt, if the trial is FAILED."""
    refused: bool = False
    """Whether the model's own code refused the hyperparameters (FaultScope.REFUSED)."""
    score: float | None = None
    best_epoch: int | None = None
    reason: str = ""
    budget: str = ""
    """Key of the setting whose budget stopped the trial, or `stop` if a user did; empty if neither did."""


class Withdrawn(_Record):
    """A trial that waits for a worker becomes STOPPED with the score that it has.

    Either the search ends, or a user has stopped the trial. A reader that skips the record trains the trial again.
    """

    format: NewestFormat = ABSENT
    kind: Literal["withdrawn"] = "withdrawn"
    trial: TrialId
    score: float
    best_epoch: int
    reason: str
    budget: str
    """Key of the setting whose budget ended the search, or `stop` if a user stopped trial or search; empty if no worker
    that can resume the trial was left."""

    @property
    def state(self) -> Literal[TrialState.STOPPED]:
        """The trial's state, as in the record Ended."""
        return TrialState.STOPPED


class ModelsDeleted(_Record):
    """Paused trials lose their saved models, because no further trial can make them promotable.

    The record is written before the models are deleted. If one of the trials is resumed after all, because better ones
    have failed, its training begins again. A reader that skips the record only believes that the models are there.
    """

    kind: Literal["models_deleted"] = "models_deleted"
    trials: tuple[TrialId, ...]


class Served(_Record):
    """The chief serves. It writes this record regularly, so that a chief that is killed loses little of its time."""

    kind: Literal["served"] = "served"
    idle_s: float = 0.0
    """Seconds of this term for which workers had joined but had no trial, summed over the workers."""


class BudgetEnded(_Record):
    """A budget of the search has ended: no trial starts any more, and running trials end after their epoch.

    A reader that skips the record would continue the search.
    """

    format: NewestFormat = ABSENT
    kind: Literal["budget_ended"] = "budget_ended"
    budget: str
    """Key of the setting, such as `search.max_hours`."""
    limit: float
    """Value of the setting."""
    reason: str
    """The budget and its limit as a text, such as `search.max_hours (1.5 h)`."""
    reserved: bool = False
    """Whether the budget still lasts, and what remains of it is reserved for search.confirm."""


class Finished(_Record):
    """The search has finished. A later chief may open it again for more trials."""

    kind: Literal["finished"] = "finished"
    reason: str
    failed: bool = False
    """Whether the search gave up, after too many consecutive failed trials or because of a shared fault."""
    shared_fault: bool = False
    """Whether a fault that every trial shares ended the search (FaultScope). `failed` is true then."""
    budget: str = ""
    """Key of the setting whose budget ended the search; empty if no budget did."""
    idle_s: float | None = None
    """As in the record Served."""


class Retried(_Record):
    """Failed trials are queued again, because the search had given up and has been started again.

    Follows the record Opened. The trials keep their attempts, and begin again at their first epoch.
    """

    format: NewestFormat = ABSENT
    kind: Literal["retried"] = "retried"
    trials: tuple[TrialId, ...]


class LearnedTrial(BaseModel):
    """A trial of an earlier study, as a search algorithm uses it (search.learn_from)."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="constants")

    study: str
    """The earlier study, as in the setting."""
    trial: TrialId
    hyperparameters: dict[str, Value]
    """Those that this study has too."""
    completed: bool
    """Whether the trial was trained to the end, and for at least as many epochs as this study's trials."""
    epochs: int
    """Number of epochs that the trial has trained, at most those of this study's trials."""
    score: float
    """Best objective of these epochs."""
    rungs: dict[int, float] = {}
    """Best objective up to each of this study's rungs."""


class Learned(_Record):
    """Trials of earlier studies that the search algorithm knows. Follows the first record Opened.

    They are recorded because the earlier studies may grow or disappear.
    """

    kind: Literal["learned"] = "learned"
    trials: tuple[LearnedTrial, ...]


class Action(StrEnum):
    """What a user can request while a search runs."""

    PAUSE = "pause"  # lease no trial, and take running trials back at their next epoch
    RESUME = "resume"  # end the pause
    STOP = "stop"  # end trials with their scores, or the search if no trial is named
    ENQUEUE = "enqueue"  # try these hyperparameters next


class Controlled(_Record):
    """The chief has handled a user's request, or refused it. It handles no request with the same id again.

    Requests that end the search or add to it have format 2.0. A reader that skips the others continues a paused search,
    and trains a trial to its end that was to be stopped.
    """

    kind: Literal["controlled"] = "controlled"
    request: str
    """Id of the request."""
    action: Action
    trials: tuple[TrialId, ...] = ()
    """The trials to stop. The action STOP without trials ends the search."""
    hyperparameters: dict[str, Value] = Field(default_factory=dict)
    """The complete configuration to try. If the request was refused, as the user wrote it."""
    refusal: str = ""
    """Why the request was refused and has no effect; empty if it was not."""


class UnknownRecord(Versioned):
    """A record of a kind that a newer minor version has added; readers skip it."""

    kind: str


Record = Annotated[
    Opened
    | Created
    | Leased
    | Reported
    | AttemptEnded
    | Paused
    | Ended
    | Withdrawn
    | ModelsDeleted
    | Served
    | BudgetEnded
    | Finished
    | Retried
    | Learned
    | Controlled,
    Field(discriminator="kind"),
]


RECORD: TypeAdapter[Record] = TypeAdapter(Record, config=ConfigDict(ser_json_inf_nan="constants"))
"""A union ignores the configuration of its members when it serializes NaN, so it needs its own configuration."""


def first_line(text: str) -> str:
    """Return the first line of a reason, without the traceback that may follow it."""
    return text.partition("\n")[0]
