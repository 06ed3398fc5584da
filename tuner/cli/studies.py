"""The commands for several studies: `studies`, `compare`, `delete` and `clean`."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner.bucket import Bucket
from tuner.cli.cache import existing_cache_folder
from tuner.cli.options import (
    DEFAULT_BUCKET,
    BucketOption,
    ContextOption,
    JsonOption,
    NamespaceOption,
    ReleaseOption,
    refuse_without_release,
)
from tuner.cli.release import bucket_and_study
from tuner.errors import UsageError
from tuner.report.terminal.console import make_console, print_json, print_line, shown_progress, shown_wait

if TYPE_CHECKING:
    from tuner.housekeeping.unused import Unused
    from tuner.study.best_so_far import BestSoFar

studies_app = typer.Typer()


@studies_app.command()
def studies(
    invocation: typer.Context,
    bucket_url: BucketOption = DEFAULT_BUCKET,
    release: ReleaseOption = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the studies of a bucket with their state, best score, worker-hours and size, also while they run."""
    refuse_without_release(invocation, release)
    from tuner.report.terminal.studies import studies_table
    from tuner.study.summary import summarize

    with bucket_and_study(bucket_url, None, release, namespace, context) as (bucket, _), shown_wait("reading studies"):
        summaries = summarize(bucket)
    if as_json:
        print_json(json.dumps([summary.model_dump(mode="json") for summary in summaries], indent=2))
        return
    if not summaries:
        print_line(make_console(), f"{bucket.url} has no study yet.")
        return
    make_console().print(studies_table(summaries))
    for summary in summaries:
        if summary.problem:
            print_line(make_console(), f"{summary.study}: {summary.problem}", style="yellow")


@studies_app.command()
def compare(
    invocation: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="STUDY…", help="Names of two or more studies of the bucket.")],
    bucket_url: BucketOption = DEFAULT_BUCKET,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="PNG file to write, with the curves of all studies.")
    ] = Path("comparison.png"),
    release: ReleaseOption = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare searches: the best objective so far against worker-hours, as a table and as a PNG file.

    The studies must have the same objective. With --json, the curves are printed and no file is written.
    """
    refuse_without_release(invocation, release)
    if len(set(names)) < 2:
        raise UsageError(f"compare needs two or more studies, got {names[0]!r:.200} only. Name another one.")
    with bucket_and_study(bucket_url, None, release, namespace, context) as (bucket, _), shown_wait("reading studies"):
        searches = _searches(bucket, list(dict.fromkeys(names)))
    target = _common_target(searches)
    if as_json:
        print_json(json.dumps([_search_json(search, target) for search in searches], indent=2))
        return
    from tuner.report.figures.best_so_far import best_so_far_png
    from tuner.report.terminal.studies import comparison_table

    make_console().print(comparison_table(searches, target))
    with shown_wait("drawing"):
        png = best_so_far_png(searches)
    try:
        out.write_bytes(png)
    except OSError as error:
        raise UsageError(f"{out}: the figure cannot be written ({error.strerror}). Choose another --out.") from None
    print_line(make_console(), str(out))


def _searches(bucket: Bucket, studies: list[str]) -> "list[BestSoFar]":
    """Return the course of each search. Raises UsageError if they cannot be compared."""
    from tuner.study.best_so_far import best_so_far
    from tuner.study.journal import JournalReader, find_study, no_study

    searches: list[BestSoFar] = []
    for study in studies:
        reader = JournalReader(bucket, find_study(bucket, study), from_snapshot=False)
        records = reader.poll()  # raises the errors of a damaged study
        if reader.state.study is None:
            raise no_study(bucket, study)
        search = best_so_far(study, records)
        first = searches[0] if searches else search
        if search.objective != first.objective:
            raise UsageError(
                f"study {study!r} has the objective {search.objective.name} ({search.objective.direction}), and "
                f"{first.study!r} has {first.objective.name} ({first.objective.direction}). Compare studies with the "
                "same objective."
            )
        if search.best is None:
            raise UsageError(f"study {study!r} has no score to compare yet. Wait for its first epoch.")
        if not search.worker_hours:
            raise UsageError(
                f"study {study!r} has no recorded worker-hours, because the version of cifake-tune that ran it did not "
                "record them. `cifake-tune studies` lists its best score beside those of other studies."
            )
        searches.append(search)
    return searches


def _common_target(searches: "list[BestSoFar]") -> float:
    """Return the objective that every search has reached: the worst of their best ones."""
    objective = searches[0].objective
    bests = [search.best for search in searches if search.best is not None]
    return max(bests, key=objective.sort_key)


def _search_json(search: "BestSoFar", target: float) -> dict[str, Any]:
    return {
        "study": search.study,
        "objective": search.objective.name,
        "direction": search.objective.direction,
        "trials": search.trials,
        "best": search.best,
        "worker_hours": search.worker_hours,
        "worker_hours_to_best": search.steps[-1].worker_hours,
        "target": target,
        "worker_hours_to_target": search.hours_to(target),
        "curve": [{"worker_hours": step.worker_hours, "value": step.value} for step in search.steps],
    }


@studies_app.command()
def delete(
    invocation: typer.Context,
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Name of the study.")],
    bucket_url: BucketOption = DEFAULT_BUCKET,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    release: ReleaseOption = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
) -> None:
    """Delete a study with its models, logs and evaluation. Data sets are shared by studies, and stay.

    A study that a chief is serving is refused. To find out takes up to 90 seconds.
    """
    refuse_without_release(invocation, release)
    from tuner.data.source import Progress
    from tuner.housekeeping.deletion import delete_study, require_no_chief
    from tuner.names import study_prefix
    from tuner.report.text import size
    from tuner.study.journal import find_study

    with bucket_and_study(bucket_url, None, release, namespace, context) as (bucket, _):
        name = find_study(bucket, study)
        if not yes and not sys.stdin.isatty():
            raise UsageError(f"delete asks before it deletes study {name!r}, and there is no terminal. Add --yes.")
        with shown_wait("checking that no chief is serving the study"):
            require_no_chief(bucket, name)
            size_bytes = bucket.size_bytes(study_prefix(name))
        if not yes and not typer.confirm(f"Delete study {name} ({size(size_bytes)}) in {bucket.url}?"):
            print_line(make_console(), "Nothing was deleted.")
            return
        with shown_progress("deleting") as progress:
            count = delete_study(bucket, name, lambda done: progress(Progress("deleting", done, 0, "objects")))
    print_line(make_console(), f"Deleted study {name}: {count:,} objects, {size(size_bytes)}.")


@studies_app.command()
def clean(
    invocation: typer.Context,
    bucket_url: BucketOption = DEFAULT_BUCKET,
    yes: Annotated[bool, typer.Option("--yes", help="Delete what is listed. Default: only list it.")] = False,
    release: ReleaseOption = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    as_json: JsonOption = False,
) -> None:
    """List data sets that no study of the bucket uses, and their unpacked copies on this machine. --yes deletes them.

    Do not use --yes while a study is being started, because its data set does not count as used yet.
    """
    refuse_without_release(invocation, release)
    from tuner.housekeeping.unused import delete_unused, find_unused

    with bucket_and_study(bucket_url, None, release, namespace, context) as (bucket, _):
        with shown_wait("reading studies"):
            unused = find_unused(bucket, existing_cache_folder(os.environ))
        if yes:
            with shown_wait("deleting"):
                delete_unused(bucket, unused)
    if as_json:
        print_json(json.dumps(_unused_json(unused, yes), indent=2))
    else:
        _print_unused(unused, yes)


def _unused_json(unused: "Unused", deleted: bool) -> dict[str, Any]:
    return {
        "deleted": deleted,
        "size_bytes": unused.size_bytes,
        "data_sets": [{"digest": each.digest, "size_bytes": each.size_bytes} for each in unused.data_sets],
        "caches": [{"path": str(each.path), "size_bytes": each.size_bytes} for each in unused.caches],
        "incomplete": list(unused.incomplete),
    }


def _print_unused(unused: "Unused", deleted: bool) -> None:
    from tuner.report.text import counted, size

    console = make_console()
    for data_set in unused.data_sets:
        print_line(console, f"data set {data_set.digest} ({size(data_set.size_bytes)})")
    for cached in unused.caches:
        print_line(console, f"cache {cached.path} ({size(cached.size_bytes)})")
    for digest in unused.incomplete:
        print_line(console, f"data set {digest} is incomplete and stays: it may be being packed", style="yellow")
    count = len(unused.data_sets) + len(unused.caches)
    if not count:
        print_line(console, "Nothing is unused.")
    elif deleted:
        print_line(console, f"Deleted {counted(count, 'folder')}, {size(unused.size_bytes)}.")
    else:
        print_line(console, f"{size(unused.size_bytes)} in {counted(count, 'folder')} can be deleted: add --yes.")
