"""`cifake-tune run`, which packs the data, searches and evaluates, and shows live progress."""

import asyncio
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from tuner import names
from tuner.address import Address, parse_address, reserved
from tuner.bucket import Bucket
from tuner.chief.monitor import ChiefMonitor
from tuner.config.settings import Study
from tuner.data.choice import choose_data
from tuner.data.manifest import Manifest
from tuner.data.summary import data_lines
from tuner.errors import CifakeTuneError, PreemptedError
from tuner.evaluator.run import AnyMetrics, evaluated, read_metrics
from tuner.live_page.serving import PageServing, serving_page
from tuner.local.children import LocalStudy, page_variables, run_evaluator, run_search
from tuner.local.crew import Crew
from tuner.local.gpus import UnusedGpus
from tuner.monitoring.catalogue import Role
from tuner.monitoring.endpoint import Monitor, serving
from tuner.notification.study_end import announced_end
from tuner.report.terminal.console import print_line, shown_progress, shown_wait
from tuner.report.terminal.evaluation import summary
from tuner.report.terminal.search import lines, model_line, problem_lines, search_view, workers_line
from tuner.report.text import counted, duration
from tuner.rpc.tls import Files
from tuner.study.compatibility import changed_effects, check_resume, with_algorithm
from tuner.study.journal import JournalReader
from tuner.study.progress import Eta, epochs_done
from tuner.study.records import Action, Controlled, Opened, Record
from tuner.study.script_change import change_of_script
from tuner.study.state import StudyState
from tuner.study.status import WorkerStatus

QUIET_S = 30.0
"""Seconds without an event after which a line says what the workers do, if there is no terminal."""
ROWS_AROUND = 12
"""Number of lines of the live view that are not trials."""


def run_study(
    study: Study,
    values: Mapping[str, Any],
    bucket: Bucket,
    crew: Crew,
    cache: Path,
    encryption: Files | None,
    console: Console,
) -> AnyMetrics:
    """Pack the data, search and evaluate. Return the evaluation's metrics. Finished steps are not repeated.

    Args:
        study: The settings.
        values: The settings for the children's study.yaml (`LocalStudy`).
        bucket: Bucket of the study.
        crew: The workers.
        cache: Folder for unpacked data and logs.
        encryption: TLS files; None without TLS.
        console: Shows the progress.

    Raises:
        CifakeTuneError: A step has failed.
    """
    began = time.monotonic()
    http_at = _http_address(os.environ)
    page_at = _own_page_address(os.environ, http_at)
    reader = JournalReader(bucket, study.name)
    reader.poll()
    if reader.state.study is not None and study.space.script is None:  # else the chief completes the settings first
        check_resume(reader.state.study, study, len(reader.state.trials))  # before minutes are spent on packing
        for change in changed_effects(reader.state, study):
            print_line(console, f"Note: {change}", style="yellow")
    if changed := change_of_script(reader.state, study.space):
        print_line(console, f"Note: {changed}", style="yellow")
    with ExitStack() as ports:
        http = ports.enter_context(reserved(http_at))
        page = ports.enter_context(reserved(page_at)) if page_at else http
        digest = _own_data(study, console) if study.data.own else _pack(study, bucket, reader.state, console).digest
        local = LocalStudy(
            study, values, bucket, digest, crew, cache, cache / "logs" / study.name, encryption, http, page
        )
        # only the script knows whether its search has grown
        is_over = study.space.script is None and reader.state.is_over(study) and reader.state.data_digest == digest
        with announced_end(bucket, lambda: _newest(reader), study.notify.webhook, evaluates=True):
            if is_over:
                print_line(console, _finished_line(reader.state))
            else:
                _search(local, reader.state, console)
                reader.poll()
            metrics = evaluated(bucket, study.name) or _evaluate(local, reader.state, console)
    console.print()
    console.print(summary(metrics, bucket.url))
    console.print()
    print_line(console, f"Done in {duration(time.monotonic() - began)}.")
    return metrics


def _newest(reader: JournalReader) -> StudyState:
    reader.poll()
    return reader.state


def _finished_line(state: StudyState) -> str:
    """Return how a search that is not continued has finished, and how to continue it."""
    name, trials = state.settings.name, counted(len(state.ended), "trial")
    if state.finished and state.finished.budget:
        return (
            f"The search of study {name} was {state.finished.reason}: {trials}. To continue it, use --set "
            f"{state.finished.budget}=N with a larger budget."
        )
    how = f" ({state.ending.sentence})" if state.ending and state.ending.is_requested else ""
    return (
        f"The search of study {name} has finished{how}: {trials}. For more trials, use --set search.max_trials=N or "
        "another name."
    )


def _http_address(environment: Mapping[str, str]) -> Address:
    address = environment.get(names.ENV_HTTP)
    return parse_address(address, names.ENV_HTTP) if address else Address("127.0.0.1", 0)


def _own_page_address(environment: Mapping[str, str], http: Address) -> Address | None:
    """Return the address of the live page; None if the page shares the address of the metrics.

    Raises ConfigError if the page cannot be served there.
    """
    text, is_encrypted = environment.get(names.ENV_LIVE_PAGE), bool(environment.get(names.ENV_LIVE_PAGE_CERT))
    address = Address("127.0.0.1", 0) if is_encrypted else None
    if text:
        address = parse_address(text, names.ENV_LIVE_PAGE)
    at = str(address or http)
    how = PageServing.from_environment({**environment, names.ENV_HTTP: str(http), names.ENV_LIVE_PAGE: at})
    return None if how is None or how.is_shared else address


def _own_data(study: Study, console: Console) -> str:
    source = f"{study.space.import_} brings its own data (data.own)"
    if study.space.script is not None:
        source = f"{study.space.script} loads its own data"
    print_line(console, f"Data: {source}, so nothing is packed.")
    return names.OWN_DATA


def _pack(study: Study, bucket: Bucket, state: StudyState, console: Console) -> Manifest:
    recorded = None if state.study is None else state.data_digest
    with shown_progress("reading the data") as progress:
        choice = choose_data(study, bucket, recorded, progress)
    manifest = choice.manifest
    if choice.reason:
        print_line(console, choice.reason)
    for line in data_lines(manifest):
        print_line(console, line)
    for warning in manifest.warnings:
        print_line(console, f"Warning: {warning}", style="yellow")
    return manifest


def _search(local: LocalStudy, previous: StudyState, console: Console) -> None:
    resumes = f" resumes ({len(previous.ended)} trials have ended)" if previous.trials else ""
    search = f"{with_algorithm(local.study, previous.study).search.algorithm.value} search"
    if local.study.space.script is not None:
        search = f"the search of {local.study.space.script}"
    print_line(
        console,
        f"Study {local.study.name}{resumes}: {search}, {local.crew.describe()}. "
        f"Bucket: {local.bucket.url}. Logs: {local.logs}.",
    )
    print_line(console, _live_page(local))
    watcher = _LiveWatcher(console) if console.is_terminal else _LineWatcher(console)
    unused = UnusedGpus(local.crew.gpus)

    def warn(text: str) -> None:
        print_line(console, f"{time.strftime('%H:%M:%S')} {text}")

    if previous.control.is_paused:
        warn(f"the search is paused; {_how_to_resume(local)}")

    def watch(state: StudyState, records: list[Record], workers: list[WorkerStatus]) -> None:
        for line in unused.lines(workers):
            warn(line)
        watcher.watch(state, records, workers)
        if any(
            isinstance(record, Controlled) and record.action is Action.PAUSE and not record.refusal
            for record in records
        ):
            warn(_how_to_resume(local))

    with watcher:
        run_search(local, watch, warn)


def _how_to_resume(local: LocalStudy) -> str:
    return f"to continue it, run cifake-tune resume --bucket {local.bucket.url} --study {local.study.name}"


def _evaluate(local: LocalStudy, state: StudyState, console: Console) -> AnyMetrics:
    """Run the evaluator, and serve the live page meanwhile, because the chief has ended with the search."""
    chief_monitor = ChiefMonitor(local.bucket, local.study.name, monitor := Monitor(Role.CHIEF))
    chief_monitor.show_finished(state)
    chief_monitor.evaluation_started()
    what = "data" if local.study.data.own else "images"
    print_line(console, f"Evaluating the best model on the test {what}. {_live_page(local)}")
    variables = page_variables(local.http, local.page, os.environ)
    how = PageServing.from_environment(variables)
    with serving(monitor, variables), serving_page(chief_monitor.page, monitor, how), shown_wait("evaluating"):
        try:
            run_evaluator(local)
            metrics = read_metrics(local.bucket, local.study.name)
            if metrics is None:
                raise CifakeTuneError(
                    f"the evaluator wrote no result to {local.bucket.url}. Read its log in {local.logs}."
                )
        except PreemptedError:
            raise
        except CifakeTuneError:
            chief_monitor.evaluation_failed()
            asyncio.run(chief_monitor.drain_page())
            raise
        chief_monitor.evaluation_done()
        asyncio.run(chief_monitor.drain_page())
    return metrics


def _live_page(local: LocalStudy) -> str:
    """Return where the live page and the metrics are."""
    is_shared = local.page == local.http
    scheme = "https" if os.environ.get(names.ENV_LIVE_PAGE_CERT) else "http"
    metrics = names.HTTP_METRICS if is_shared else f"http://{local.http}{names.HTTP_METRICS}"
    token = f"; it asks for {names.ENV_LIVE_PAGE_TOKEN}" if os.environ.get(names.ENV_LIVE_PAGE_TOKEN) else ""
    return f"Live page: {scheme}://{local.page}{names.HTTP_PAGE} (metrics: {metrics}{token})"


class _LiveWatcher:
    """Shows a live table on a terminal."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=4)
        self._began = time.monotonic()
        self._eta: Eta | None = None

    def __enter__(self) -> None:
        self._live.__enter__()
        self._live.update("Starting chief and workers …")

    def __exit__(self, *_: object) -> None:
        self._live.__exit__(None, None, None)

    def watch(self, state: StudyState, records: list[Record], workers: list[WorkerStatus]) -> None:
        """Show the current state of the search."""
        for record in records:
            if isinstance(record, Opened) and record.model_sizes:
                print_line(self._live.console, f"{model_line(record.model_sizes).capitalize()}.")
        self._eta = self._eta or Eta(time.monotonic(), epochs_done(state, workers), state.time.paused_s)
        remaining_s = None if state.finished else self._eta.remaining_s(state, workers)
        rows = max(3, self._live.console.height - ROWS_AROUND)
        self._live.update(search_view(state, workers, time.monotonic() - self._began, remaining_s, rows))


class _LineWatcher:
    """Prints one line per event if there is no terminal, and a line about the workers if nothing happens for long."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._waiting: set[str] = set()
        self._eta: Eta | None = None
        self._starting = ExitStack()
        self._printed_at = time.monotonic()

    def __enter__(self) -> None:
        print_line(self._console, f"{time.strftime('%H:%M:%S')} starting chief and workers")
        self._starting.enter_context(shown_wait("starting chief and workers"))

    def __exit__(self, *_: object) -> None:
        self._starting.close()

    def watch(self, state: StudyState, records: list[Record], workers: list[WorkerStatus]) -> None:
        """Print the new events."""
        self._starting.close()  # the chief has opened the study
        self._eta = self._eta or Eta(time.monotonic(), epochs_done(state, workers), state.time.paused_s)
        for line in lines(state, records):
            remaining_s = self._eta.remaining_s(state, workers) if " trials" in line else None
            left = f"; about {duration(remaining_s)} left" if remaining_s else ""
            self._print(f"{line}{left}")
        problems = problem_lines(workers)
        for worker in problems.keys() - self._waiting:  # the text of a problem may change while a worker waits
            self._print(problems[worker])
        self._waiting = set(problems)
        if time.monotonic() - self._printed_at >= QUIET_S:
            self._print(workers_line(workers, state.settings.data.own).plain)

    def _print(self, line: str) -> None:
        self._printed_at = time.monotonic()
        print_line(self._console, f"{time.strftime('%H:%M:%S')} {line}")
