"""Writes a study to an MLflow server: a parent run for the study, and a nested run for each trial that has started.

Writing compares the runs with what the server has, and adds what is missing. A run is found again by its tags, and a
point of a metric by its step and its time, which is that of the journal. So several processes can write a study one
after the other without writing anything twice.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from tuner.bucket import Bucket
from tuner.export.mlflow_content import TRIAL, Content, Point, content_version, study_content, trial_content
from tuner.study.journal import no_study, read_records
from tuner.study.records import Opened
from tuner.study.state import StudyState

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

STUDY_ID = "cifake_tune.study_id"
PARENT_ID = "mlflow.parentRunId"
THE_STUDY = ""
"""Stands for the study's run among those of the trials, by their ids."""
PAGE = 1000
METRICS_AT_ONCE, PARAMS_AT_ONCE = 1000, 100
"""MLflow's limits on one request."""

Item = TypeVar("Item")


@dataclass
class KnownRun:
    """What a run on the server contains, as far as it is known."""

    run_id: str
    status: str
    ended_ms: int | None
    tags: dict[str, str]
    params: set[str]
    metrics: set[str]
    """Keys of the metrics when the run was found."""
    points: set[Point] | None = None
    """None until the histories of the metrics have been read."""


class MlflowRuns:
    """The runs of one study. `write` raises the errors of MLflow's client."""

    def __init__(self, client: "MlflowClient", study_id: str, experiment: str) -> None:
        self._client = client
        self._study_id = study_id
        self._experiment = experiment
        self._experiment_id = ""
        self._runs: dict[str, KnownRun] | None = None
        """By trial; that of the study by `THE_STUDY`. None until the server has been asked."""
        self._versions: dict[str, object] = {}
        """Version of each trial's content that was written last."""

    def forget(self) -> None:
        """Let the next `write` ask the server again what it has."""
        self._runs = None
        self._versions.clear()

    def write(self, state: StudyState) -> None:
        """Add what the server lacks of the study.

        After an error, the next call asks the server what it has, because a failed request may have had an effect.
        """
        try:
            self._write(state)
        except Exception:
            self.forget()
            raise

    def _write(self, state: StudyState) -> None:
        runs = self._runs = self._find() if self._runs is None else self._runs
        parent = study_content(state)
        if THE_STUDY not in runs:
            runs[THE_STUDY] = self._create(parent)
        for trial in state.trials.values():
            version = content_version(trial)
            if trial.started is None or self._versions.get(trial.trial_id) == version:
                continue
            content = trial_content(trial)
            nested = replace(content, tags=content.tags | {PARENT_ID: runs[THE_STUDY].run_id})
            if trial.trial_id not in runs:
                runs[trial.trial_id] = self._create(nested)
            self._update(runs[trial.trial_id], nested)
            self._versions[trial.trial_id] = version
        self._update(runs[THE_STUDY], parent)  # last, so that it ends after its trials

    def _find(self) -> dict[str, KnownRun]:
        """Return the study's runs on the server, and delete duplicates.

        There is a duplicate if the server executes a request late, after its sender has found no run and sent another.
        """
        self._experiment_id = self._open_experiment()
        runs: dict[str, KnownRun] = {}
        for run in sorted(self._search(), key=lambda run: str(run.info.run_id)):
            trial = run.data.tags.get(TRIAL, THE_STUDY)
            if trial in runs:
                self._client.delete_run(run.info.run_id)
            else:
                runs[trial] = _known(run)
        return runs

    def _open_experiment(self) -> str:
        experiment = self._client.get_experiment_by_name(self._experiment)
        return str(experiment.experiment_id if experiment else self._client.create_experiment(self._experiment))

    def _search(self) -> "Iterator[Run]":
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment_id], f"tags.`{STUDY_ID}` = '{self._study_id}'", max_results=PAGE, page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return

    def _create(self, content: Content) -> KnownRun:
        tags = content.tags | {STUDY_ID: self._study_id}
        created = self._client.create_run(
            self._experiment_id, start_time=content.started_ms, tags=tags, run_name=content.name
        )
        return replace(_known(created), points=set())

    def _update(self, run: KnownRun, content: Content) -> None:
        """Add the hyperparameters, points and tags that the run lacks, and its end last."""
        from mlflow.entities import Metric, Param, RunTag

        is_at_its_end = (run.status, run.ended_ms) == (content.status, content.ended_ms)
        if not is_at_its_end or content.ended_ms is None:  # else, it has everything else too
            params = {key: value for key, value in content.params.items() if key not in run.params}
            for some in _batches(params.items(), PARAMS_AT_ONCE):
                self._client.log_batch(run.run_id, params=[Param(key, value) for key, value in some])
            run.params |= params.keys()
            for part in _batches(self._missing(run, content.points), METRICS_AT_ONCE):
                metrics = [Metric(point.key, point.value, point.time_ms, point.step) for point in part]
                self._client.log_batch(run.run_id, metrics)
                run.points = (run.points or set()) | set(part)
        tags = {key: value for key, value in content.tags.items() if run.tags.get(key) != value}
        if tags:
            self._client.log_batch(run.run_id, tags=[RunTag(key, value) for key, value in tags.items()])
            run.tags |= tags
        if not is_at_its_end:
            self._set_status(run, content)

    def _missing(self, run: KnownRun, points: Iterable[Point]) -> list[Point]:
        points = dict.fromkeys(points)
        if points and run.points is None:
            run.points = {
                Point(metric.key, metric.step, metric.timestamp, metric.value)
                for key in {point.key for point in points} & run.metrics
                for metric in self._client.get_metric_history(run.run_id, key)
            }
        return [point for point in points if point not in (run.points or ())]

    def _set_status(self, run: KnownRun, content: Content) -> None:
        if content.ended_ms is None:
            self._client.update_run(run.run_id, content.status)
        else:
            self._client.set_terminated(run.run_id, content.status, content.ended_ms)
        run.status, run.ended_ms = content.status, content.ended_ms


def study_id(bucket: Bucket, study: str) -> str:
    """Return the random id with which a study began. A study that is deleted and begun again has another one."""
    first = next(read_records(bucket, study), None)
    if not isinstance(first, Opened):
        raise no_study(bucket, study)
    return first.writer


def _known(run: "Run") -> KnownRun:
    info, data = run.info, run.data
    return KnownRun(
        info.run_id, info.status, info.end_time or None, dict(data.tags), set(data.params), set(data.metrics)
    )


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
