"""The commands `pause`, `resume`, `stop` and `enqueue`, which control a search while it runs."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner.bucket import Bucket
from tuner.cli.options import (
    DEFAULT_BUCKET,
    BucketOption,
    ContextOption,
    NamespaceOption,
    ReleaseOption,
    StudyNameOption,
    refuse,
    refuse_without_release,
)
from tuner.cli.release import bucket_and_study, load_release
from tuner.errors import ConfigError, UsageError
from tuner.report.terminal.console import make_console, print_line, shown_wait

if TYPE_CHECKING:
    from k8s.release.release import Release
    from tuner.study.records import Action, Controlled, Value
    from tuner.study.state import StudyState

control_app = typer.Typer()
POLL_S = 1.0


@control_app.command()
def pause(
    invocation: typer.Context,
    bucket_url: BucketOption = DEFAULT_BUCKET,
    study: StudyNameOption = None,
    release: ReleaseOption = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    scale_down: Annotated[
        bool,
        typer.Option(
            "--scale-down",
            help="Also remove the workers' pods, once they have handed back their trials. resume brings them back.",
            rich_help_panel="Cluster",
        ),
    ] = False,
) -> None:
    """Pause a search: no trial is started, and running trials are handed back after their epoch."""
    if release is None:
        refuse(invocation, {"scale_down": "--scale-down"}, "without --release. Add --release NAME")
    refuse_without_release(invocation, release)
    with bucket_and_study(bucket_url, study, release, namespace, context) as (bucket, name):
        control = _Control(bucket, name)
        if is_confirmed := control.requested(control.action.PAUSE) is not None:
            running = control.running()
            waits = f" {_trials(running)} handed back or completed after the current epoch." if running else ""
            control.print(
                f"The search is paused.{waits} Continue it with {_resume(bucket_url, control.study, release)}."
            )
        if scale_down and is_confirmed:
            control.await_idle()
    if scale_down and release is not None:
        from k8s.worker_job import scale_down as remove_pods

        opened = load_release(release, namespace, context)
        removed = remove_pods(opened)
        control.print(f"The pods of {removed} workers are being removed." if removed else "No worker has a pod.")


@control_app.command()
def resume(
    invocation: typer.Context,
    bucket_url: BucketOption = DEFAULT_BUCKET,
    study: StudyNameOption = None,
    release: ReleaseOption = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
) -> None:
    """Continue a paused search. With --release, also bring back the pods that `pause --scale-down` has removed."""
    refuse_without_release(invocation, release)
    refused: UsageError | None = None
    with bucket_and_study(bucket_url, study, release, namespace, context) as (bucket, name):
        control = _Control(bucket, name)
        try:
            if control.requested(control.action.RESUME):
                control.print("The search continues.")
        except UsageError as error:  # the search has finished, and its workers must still be able to
            refused = error
    if release is not None:
        _bring_back_pods(control, load_release(release, namespace, context))
    if refused:
        raise refused


@control_app.command()
def stop(
    invocation: typer.Context,
    trials: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TRIAL]...", help="Ids of trials; leading zeros are optional. Default: the search."),
    ] = None,
    bucket_url: BucketOption = DEFAULT_BUCKET,
    study: StudyNameOption = None,
    release: ReleaseOption = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
) -> None:
    """Stop trials, which end with their scores after their epoch. Without trials, end the search, and evaluate."""
    refuse_without_release(invocation, release)
    from tuner.control.refusal import full_id

    with bucket_and_study(bucket_url, study, release, namespace, context) as (bucket, name):
        control = _Control(bucket, name)
        chosen = tuple(dict.fromkeys(full_id(control.state, trial) for trial in trials or ()))
        if not control.requested(control.action.STOP, trials=chosen):
            return
        if not chosen:
            control.print("The search ends. Running trials stop after their epoch, and the best trial is evaluated.")
            if release is not None:  # the workers' Job completes only if its workers learn that the search has ended
                _bring_back_pods(control, load_release(release, namespace, context))
        for trial in (control.state.trials[trial_id] for trial_id in chosen):
            has_ended = trial.ended is not None
            control.print(f"Trial {trial.trial_id} {'has stopped' if has_ended else 'stops after its epoch'}.")


@control_app.command()
def enqueue(
    invocation: typer.Context,
    settings: Annotated[
        list[str],
        typer.Option("--set", help="A hyperparameter, such as learning_rate=0.001. Can be repeated."),
    ],
    bucket_url: BucketOption = DEFAULT_BUCKET,
    study: StudyNameOption = None,
    release: ReleaseOption = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
) -> None:
    """Try these hyperparameters next. All others have their defaults."""
    refuse_without_release(invocation, release)
    from tuner.report.terminal.search import hyperparameters_text

    values = _hyperparameters(settings)
    with bucket_and_study(bucket_url, study, release, namespace, context) as (bucket, name):
        control = _Control(bucket, name)
        if record := control.requested(control.action.ENQUEUE, hyperparameters=values):
            control.print(f"Enqueued, and tried next: {hyperparameters_text(record.hyperparameters)}")


class _Control:
    """Sends requests to the chief of a study, and prints what it answers."""

    def __init__(self, bucket: Bucket, study: str | None) -> None:
        from tuner.study.journal import JournalReader, find_study, no_study
        from tuner.study.records import Action

        self.action: type[Action] = Action
        self._bucket = bucket
        self._console = make_console()
        with shown_wait("reading the study"):
            self.study = find_study(bucket, study)
            self._reader: JournalReader = JournalReader(bucket, self.study)
            self._reader.poll()
        if self.state.study is None:
            raise no_study(bucket, self.study)

    @property
    def state(self) -> "StudyState":
        """The state of the study, as of the last request."""
        return self._reader.state

    def print(self, line: str) -> None:
        """Print a line."""
        print_line(self._console, line)

    def requested(self, action: "Action", **details: Any) -> "Controlled | None":
        """Send a request, and return its record; None if no chief has confirmed it, after printing so.

        Raises UsageError if the request is refused.
        """
        from tuner.control.confirmation import submit_and_await
        from tuner.control.refusal import refusal
        from tuner.control.request import Request, description

        request: Request = Request(action=action, **details)
        if refused := refusal(self.state, request):
            raise UsageError(refused)
        about = description(request.action, request.trials, request.hyperparameters)
        self.print(f"Asking the chief of study {self.study} to {about}.")
        with shown_wait("waiting for the chief"):
            record = submit_and_await(self._bucket, self.study, request, self._reader)
        if record is None:
            print_line(
                self._console,
                f"No chief has confirmed the request. Probably none is serving study {self.study}, or its version "
                "cannot be controlled. The request stays in the bucket, and the next chief of the study handles it.",
                style="yellow",
            )
        elif record.refusal:
            raise UsageError(record.refusal)
        return record

    def running(self) -> int:
        """Return the number of trials that are leased to workers."""
        from tuner.study.records import TrialState

        return sum(trial.state is TrialState.RUNNING for trial in self.state.trials.values())

    def await_idle(self) -> None:
        """Wait until all running trials are handed back, but only for search.grace_minutes."""
        deadline = time.monotonic() + 60 * self.state.settings.search.grace_minutes
        with shown_wait("waiting for running trials"):
            while self.running() and time.monotonic() < deadline:
                time.sleep(POLL_S)
                self._reader.poll()


def _bring_back_pods(control: _Control, release: "Release") -> None:
    """Create the pods of workers again that `pause --scale-down` has removed."""
    from k8s.worker_job import scale_up

    if count := scale_up(release):
        control.print(f"The pods of {count} workers are being created.")


def _trials(count: int) -> str:
    return "1 running trial is" if count == 1 else f"{count} running trials are"


def _resume(bucket_url: str, study: str, release: str | None) -> str:
    place = f"--bucket {bucket_url} --study {study}" if release is None else f"--release {release}"
    return f"cifake-tune resume {place}"


def _hyperparameters(settings: list[str]) -> "dict[str, Value]":
    """Return the values that `--set` gives. Raises ConfigError if one is no value of a hyperparameter."""
    from tuner.config.yaml import parse_value

    values: dict[str, Value] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise ConfigError(f"--set must be NAME=VALUE, such as learning_rate=0.001, got {setting!r:.100}.")
        value = parse_value(text, f"--set {setting:.100}")
        if not isinstance(value, bool | int | float | str):
            raise ConfigError(f"--set {setting:.100}: must be a number, a text, true or false.")
        values[name] = value
    return values
