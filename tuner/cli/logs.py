"""The command `logs`, which prints the log of a trial or of a release's pods."""

from typing import Annotated

import typer

from tuner.cli.options import (
    DEFAULT_BUCKET,
    BucketOption,
    ContextOption,
    JsonOption,
    NamespaceOption,
    ReleaseOption,
    StudyNameOption,
    refuse,
    refuse_without_release,
)
from tuner.cli.release import bucket_and_study, load_release
from tuner.errors import UsageError
from tuner.report.terminal.console import print_text, shown_wait

logs_app = typer.Typer()


@logs_app.command()
def logs(
    invocation: typer.Context,
    trial: Annotated[str | None, typer.Argument(help="Id of the trial; leading zeros are optional.")] = None,
    bucket_url: BucketOption = DEFAULT_BUCKET,
    study: StudyNameOption = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Follow the log until the trial or the pods end.")
    ] = False,
    release: ReleaseOption = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    worker: Annotated[
        int | None,
        typer.Option(
            "--worker", min=0, help="Index of the worker whose pods' logs are printed.", rich_help_panel="Cluster"
        ),
    ] = None,
    component: Annotated[
        str | None,
        typer.Option(
            help="Component whose pods' logs are printed: chief, worker, evaluator, data or bucket.",
            rich_help_panel="Cluster",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print a trial's log over all its attempts or, with --release and no trial, the logs of the release's pods."""
    if release is None and (worker is not None or component is not None):
        raise UsageError("--worker and --component select pods of a release. Add --release NAME.")
    refuse_without_release(invocation, release)
    if trial is None and release is not None:
        unused = {"as_json": "--json", "study": "--study"}
        refuse(invocation, unused, "on the logs of a release's pods. Remove it, or name a trial")
        from k8s.release.pod_logs import PodSelector, follow_logs, show_logs

        selector = PodSelector.from_options(component, worker)
        opened = load_release(release, namespace, context)
        follow_logs(opened, selector, print_text) if follow else show_logs(opened, selector, print_text)
        return
    if trial is not None and (worker is not None or component is not None):
        raise UsageError(
            "--worker and --component cannot be combined with a trial, whose log covers all its workers. Omit these "
            "options, or the trial."
        )
    from tuner.report.terminal import logs as cli_logs
    from tuner.study import attempt_logs
    from tuner.study.journal import find_study

    with bucket_and_study(bucket_url, study, release, namespace, context) as (bucket, chosen):
        name = find_study(bucket, chosen)
        if trial is None:
            raise UsageError(f"the argument TRIAL is required. {attempt_logs.trials_with_logs(bucket, name)}")
        if follow:
            with shown_wait("reading the study"):
                follower = attempt_logs.Follower(bucket, name, trial)
            cli_logs.follow(follower, as_json)
            return
        with shown_wait("reading the log"):
            attempts = attempt_logs.read_log(bucket, name, trial)
        cli_logs.show(attempts, as_json)
