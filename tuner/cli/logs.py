"""The command logs: of a trial, or of a release's pods."""

from typing import TYPE_CHECKING, Annotated

import typer

from tuner.cli.options import (
    DEFAULT_BUCKET,
    BucketOption,
    ContextOption,
    JsonOption,
    NamespaceOption,
    ReleaseOption,
    StudyNameOption,
)
from tuner.cli.release import bucket_and_study, load_release
from tuner.errors import UsageError

if TYPE_CHECKING:
    pass

logs_app = typer.Typer()


@logs_app.command()
def logs(
    trial: Annotated[str | None, typer.Argument(help="The trial's id; leading zeros may be left out.")] = None,
    bucket_url: BucketOption = DEFAULT_BUCKET,
    study: StudyNameOption = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the trial, or the pods, end.")] = False,
    release: ReleaseOption = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    worker: Annotated[
        int | None, typer.Option("--worker", min=0, help="The pods of one worker.", rich_help_panel="Cluster")
    ] = None,
    component: Annotated[
        str | None,
        typer.Option(help="The pods of chief, worker, evaluator, data or bucket.", rich_help_panel="Cluster"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print what was logged about a trial, over all its attempts; without a trial, what a release's pods write."""
    if release is None and (worker is not None or component is not None):
        raise UsageError("--worker and --component say whose pods of a release; add --release NAME.")
    if trial is None and release is not None:
        from k8s.release.pod_logs import PodSelector, follow_logs, show_logs

        selector = PodSelector.from_options(component, worker)
        found = load_release(release, namespace, context)
        follow_logs(found, selector, _print) if follow else show_logs(found, selector, _print)
        return
    if trial is not None and (worker is not None or component is not None):
        raise UsageError(
            "a trial's log is joined over all its workers; leave out --worker and --component, or the trial."
        )
    from tuner.report.terminal import logs as cli_logs
    from tuner.study import attempt_logs
    from tuner.study.journal import find_study

    with bucket_and_study(bucket_url, study, release, namespace, context) as (bucket, given):
        name = find_study(bucket, given)
        if trial is None:
            raise UsageError(f"which trial? {attempt_logs.trials_with_logs(bucket, name)}")
        if follow:
            cli_logs.follow(attempt_logs.Follower(bucket, name, trial), as_json)
        else:
            cli_logs.show(attempt_logs.read_log(bucket, name, trial), as_json)


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201
