"""The command `plan`, which estimates what a search will take before it starts."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuner.cli.backend import choose_backend, importing_keras
from tuner.cli.cache import cache_folder
from tuner.cli.options import DEFAULT_BUCKET, BucketOption, JsonOption, StudyFileOption, refuse, study_settings
from tuner.report.terminal.console import make_console, print_json, print_line, shown_progress, shown_wait

if TYPE_CHECKING:
    from tuner.config.settings import Study
    from tuner.planning.plan import Plan

plan_app = typer.Typer()
RELEASE = "Before an install"
SHORT_S = 10
"""Epochs below this number of seconds are shown with fractions of a second."""


@dataclass(frozen=True)
class _Search:
    """The search to be planned."""

    study: "Study"
    workers: int
    memory_bytes: int | None


@plan_app.command()
def plan(
    invocation: typer.Context,
    study_file: StudyFileOption = None,
    data: Annotated[
        str | None, typer.Option("--data", help="Images, as in `run`. They are packed into the bucket.")
    ] = None,
    bucket_url: BucketOption = DEFAULT_BUCKET,
    workers: Annotated[int | None, typer.Option(min=1, help="Number of workers. Default: 1, or the release's.")] = None,
    models: Annotated[int, typer.Option(min=1, max=50, help="Number of sampled models to time.")] = 3,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A setting of the study, such as search.max_trials=20, or with --values a value of the chart."
        ),
    ] = None,
    values: Annotated[
        list[Path] | None,
        typer.Option("--values", "-f", help="Values file for the chart. Requires helm.", rich_help_panel=RELEASE),
    ] = None,
    chart: Annotated[Path, typer.Option(help="Path of the chart.", rich_help_panel=RELEASE)] = Path("charts"),
    as_json: JsonOption = False,
) -> None:
    """Estimate what a search will take: epochs, worker-hours, time, storage and cost.

    A few sampled models are timed on this machine, so workers are assumed to be as fast as this machine.
    """
    from tuner.bucket import open_bucket

    if values:
        refuse(invocation, {"study_file": "--study"}, "with --values, whose value `study` is the study. Remove it")
    else:
        refuse(invocation, {"chart": "--chart"}, "without --values. Add --values FILE")
    source = [f"data.source={json.dumps(data)}"] if data is not None else []
    if values:
        search = _of_chart(chart, values, settings or [], source, workers)
    else:
        study = study_settings(study_file, [*(settings or []), *source], bucket_url)
        search = _Search(study, workers or 1, None)
    choose_backend()
    bucket = open_bucket(bucket_url)
    manifest = None
    if not search.study.data.own:
        from tuner.data.choice import choose_data

        with shown_progress("reading the data") as progress:
            manifest = choose_data(search.study, bucket, None, progress).manifest
    with shown_wait("importing Keras"), importing_keras():
        from tuner.planning.run import plan_study
    cache = cache_folder(os.environ)
    result = plan_study(search.study, bucket, manifest, cache, search.workers, models, search.memory_bytes, shown_wait)
    if as_json:
        print_json(result.model_dump_json(indent=2))
        return
    for name, text in plan_lines(result, search.study):
        print_line(make_console(), f"{name:<16}{text}")
    for warning in result.warnings:
        print_line(make_console(), f"Warning: {warning}.", style="yellow")


def _of_chart(chart: Path, values: list[Path], settings: list[str], source: list[str], workers: int | None) -> _Search:
    """Return the search of a release with these values of the chart."""
    from k8s.doctor.chart import HelmValues, planned_release
    from tuner.config.loading import load
    from tuner.temporary_files import temporary_folder

    release = planned_release(HelmValues(chart, values, settings))
    with temporary_folder() as folder:
        file = Path(folder) / "study.yaml"
        file.write_text(release.study_yaml, encoding="utf-8")
        study = load(file, source)
    return _Search(study, workers or release.workers, release.memory_bytes)


def plan_lines(plan: "Plan", study: "Study") -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each fact of a plan."""
    from tuner.report.terminal.search import hyperparameters_text
    from tuner.report.text import duration, large, size
    from tuner.study.worker_hours import money

    yield "study", plan.study
    for number, (name, values) in enumerate(plan.hyperparameters.items()):
        yield "" if number else "hyperparameters", f"{name}: {values}"
    yield "space", "infinitely many models" if plan.combinations is None else f"{plan.combinations:,.0f} models at most"
    sizes = {
        "smallest": plan.smallest_parameters, "default": plan.default_parameters, "largest": plan.largest_parameters,
    }  # fmt: skip
    known = [f"{name} {large(parameters)}" for name, parameters in sizes.items() if parameters is not None]
    yield "parameters", ", ".join(known) or "known only after the first batch"
    for number, model in enumerate(plan.models):
        epoch = f"{model.epoch_s:.2g} s" if model.epoch_s < SHORT_S else duration(model.epoch_s)
        speed = f"{model.step_ms:.3g} ms per step, {epoch} per epoch, {duration(model.trial_s)} per trial"
        yield "" if number else "timed here", f"{speed}: {hyperparameters_text(model.hyperparameters)}"
    per_trial = f"{plan.epochs_per_trial:.3g} epochs per trial"
    yield "trials", per_trial if plan.trials is None else f"about {plan.trials:,.0f}, {per_trial} on average"
    if plan.repetitions:
        yield "confirmation", f"{plan.repetitions} further trainings of {study.training.epochs} epochs (search.confirm)"
    if plan.epochs is not None:
        yield "epochs", f"about {plan.epochs:,.0f}"
    if plan.worker_hours is not None and plan.finish_hours is not None:
        yield "worker-hours", f"{plan.worker_hours:.3g}, until {plan.limited_by} ends the search"
        noun = "worker" if plan.workers == 1 else "workers"
        yield "time", f"{duration(plan.finish_hours * 3600)} with {plan.workers} {noun}, each as fast as this machine"
    yield "bucket", f"up to {size(plan.bucket_bytes)}"
    if plan.cost is not None:
        yield "cost", money(plan.cost, study.cost)
