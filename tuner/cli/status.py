"""The commands `status` and `trials`, for a bucket or for a release of the chart in its cluster."""

import json
from typing import TYPE_CHECKING

import typer

from tuner import names
from tuner.bucket import Bucket, open_bucket
from tuner.cli.options import (
    DEFAULT_BUCKET,
    BucketOption,
    ContextOption,
    JsonOption,
    NamespaceOption,
    ReleaseOption,
    StudyNameOption,
    named_study,
    refuse_without_release,
)
from tuner.cli.release import ask_for_progress, bucket_and_study, load_release, workers_of
from tuner.cli.trial_output import EpochsOption, FormatOption, chosen_format, print_trials
from tuner.errors import CifakeTuneError, ExitCode
from tuner.report.terminal.console import make_console, print_json, print_line, shown_wait

if TYPE_CHECKING:
    from k8s.release.release import Release
    from k8s.release.status import ReleaseView
    from tuner.study.state import StudyState
    from tuner.study.views import StudyView

readers_app = typer.Typer()
HOW_TO_CONTINUE = (
    "To continue the search, fix the cause and run helm upgrade with what has changed, for example "
    "workers.resources.limits.memory, another image, or a setting of study. It starts chief and workers again."
)
"""What to do after a search of a release that gave up."""


@readers_app.command()
def status(
    invocation: typer.Context,
    bucket_url: BucketOption = DEFAULT_BUCKET,
    study: StudyNameOption = None,
    release: ReleaseOption = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the progress of a study, also while it runs. With --release, also show the release's pods and problems.

    With --release, the exit code is 3 if something is broken.
    """
    refuse_without_release(invocation, release)
    if release is not None:
        _release_status(load_release(release, namespace, context), named_study(study) if study else None, as_json)
        return
    from tuner.study.views import view_study

    bucket = open_bucket(bucket_url)
    view = view_study(_state(bucket, named_study(study)))
    if as_json:
        print_json(view.model_dump_json(indent=2))
        return
    _print_study(view)


@readers_app.command()
def trials(
    invocation: typer.Context,
    bucket_url: BucketOption = DEFAULT_BUCKET,
    study: StudyNameOption = None,
    release: ReleaseOption = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    output: FormatOption = None,
    epochs: EpochsOption = False,
    as_json: JsonOption = False,
) -> None:
    """List a study's trials, also while it runs."""
    refuse_without_release(invocation, release)
    chosen = chosen_format(output, as_json)
    with bucket_and_study(bucket_url, study, release, namespace, context) as (bucket, name):
        state = _state(bucket, name)
    print_trials(state, chosen, epochs)


def _release_status(release: "Release", study: str | None, as_json: bool) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from k8s.release.lost_nodes import read_nodes
    from k8s.release.status import last_lines, view_release

    with shown_wait("reading the release"), ThreadPoolExecutor(3) as pool:
        progress = pool.submit(_study_of, release, study)
        work = pool.submit(workers_of, release, lambda: progress.result()[0])
        lines = pool.submit(last_lines, release)
        workers, no_work = work.result()
        nodes = pool.submit(read_nodes, release, workers)
        view, no_study = progress.result()
        release_status = view_release(release, lines.result(), workers, nodes.result())
    notes = [note for note in (no_study, no_work) if note]
    if as_json:
        parts = {
            "study": view.model_dump(mode="json") if view else None,
            **release_status.model_dump(mode="json"),
            "notes": notes,
        }
        print_json(json.dumps(parts, indent=2))
    else:
        _print_release(view, release_status, notes)
    if release_status.broken:
        raise typer.Exit(ExitCode.ENVIRONMENT)


def _print_release(view: "StudyView | None", release_status: "ReleaseView", notes: list[str]) -> None:
    from k8s.release.terminal import release_view

    console, own = make_console(), view is not None and view.data == names.OWN_DATA
    if view:
        _print_headline(view)
    console.print()
    console.print(release_view(release_status, "samples" if own else "images"))
    for note in notes:
        print_line(console, note, style="yellow")


def _study_of(release: "Release", study: str | None) -> "tuple[StudyView | None, str]":
    """Return the progress of the study, or why it is unknown."""
    from tuner.cli.release import open_release_bucket
    from tuner.study.journal import JournalReader
    from tuner.study.views import view_study

    try:
        with open_release_bucket(release) as bucket:
            name = study or release.study_name()
            reader = JournalReader(bucket, name)
            reader.poll()
            if reader.state.study is None:
                return None, f"Study {name} has not begun: its chief has recorded nothing yet."
            return view_study(reader.state), ""
    except CifakeTuneError as error:
        problem = f"The progress of the study is unknown: {error}"
    if release.emulator_port is not None or release.lacks_bucket:
        return None, problem
    try:  # the bucket is outside the cluster, and may be readable only for the pods
        return ask_for_progress(release), ""
    except CifakeTuneError as error:
        return None, f"{problem} The chief was asked instead, but {error}"


def _state(bucket: Bucket, study: str | None) -> "StudyState":
    from tuner.study.journal import find_study, read_study

    with shown_wait("reading the study"):
        return read_study(bucket, find_study(bucket, study))


def _print_study(view: "StudyView") -> None:
    from tuner.report.terminal.study import study_lines

    for name, text in study_lines(view):
        print_line(make_console(), f"{name:<16}{text}")


def _print_headline(view: "StudyView") -> None:
    """Print the progress of the study in a few lines. `status` without a release prints more."""
    from tuner.report.terminal.search import ending_sentence, hyperparameters_text
    from tuner.report.terminal.study import activity_line, running_label
    from tuner.report.text import duration, score
    from tuner.study.views import FAULT

    parts = [f"study {view.study}: {view.ended_trials} trials"]
    counts = {
        running_label(view): view.running, "queued": view.queued, "paused": view.paused, "stopped early": view.stopped,
        "failed": view.failed,
    }  # fmt: skip
    parts += [f"{count} {what}" for what, count in counts.items() if count]
    if view.best_score is not None:
        parts.append(f"best {view.objective} {score(view.best_score)} (trial {view.best_trial})")
    parts += [f"{budget.budget} {budget.text}" for budget in view.budgets]
    if view.work is not None and view.work.cost is not None:
        parts.append(f"worker-hours {view.work.total}")
    if view.chiefs > 1:
        parts.append(f"chief number {view.chiefs}")
    if view.elapsed_s is not None:
        parts.append(f"elapsed {duration(view.elapsed_s)}")
    if view.remaining_s is not None:
        parts.append(f"about {duration(view.remaining_s)} left")
    print_line(make_console(), ", ".join(parts), style="bold")
    if view.best_hyperparameters:
        print_line(make_console(), f"best hyperparameters: {hyperparameters_text(view.best_hyperparameters)}")
    if view.problem:
        print_line(make_console(), view.problem, style="yellow")
    if view.ending:
        print_line(make_console(), ending_sentence(view.ending))
    if view.paused_since is not None and view.state == "unfinished":
        print_line(make_console(), activity_line(view), style="yellow")
    if view.state != "unfinished":
        end = "gave up" if view.gave_up else "has finished"
        print_line(make_console(), f"the search {'ended with a fault' if view.state == FAULT else end}: {view.reason}")
        if view.gave_up:
            print_line(make_console(), HOW_TO_CONTINUE, style="yellow")
