"""Evaluates the best model of a space that has its own data or its own `evaluate`, and writes the evaluation."""

import time
from dataclasses import dataclass
from pathlib import Path

import keras_tuner

from tuner import names
from tuner.bucket import Bucket
from tuner.data.arrays import open_split, open_validation
from tuner.data.manifest import Manifest
from tuner.data.source import Progress
from tuner.evaluation import saved_model
from tuner.evaluation.confirmed import confirmed_trials
from tuner.evaluation.measurement import ReportProgress, software_versions
from tuner.evaluation.own_result import OwnMetrics
from tuner.evaluator.artifacts import make_own_artifacts
from tuner.evaluator.provenance import provenance
from tuner.evaluator.result_writer import replace_evaluation
from tuner.spaces.own_data import OwnPart, Part, load_part
from tuner.spaces.own_evaluation import evaluate, require_compiled
from tuner.spaces.own_methods import has_own_evaluation
from tuner.study.attempts import attempts_of
from tuner.study.journal import read_records
from tuner.study.state import StudyState
from tuner.study.trial import Trial


@dataclass(frozen=True)
class OwnSubject:
    """The model to evaluate, with its space and its data."""

    bucket: Bucket
    state: StudyState
    best: Trial
    evaluations: int
    """Number of the study's models measured on the test data, including this one."""
    space: keras_tuner.HyperModel
    manifest: Manifest | None
    """The packed data set; None if the space brings its own data."""


def evaluate_own(
    subject: OwnSubject, folder: Path, cache: Path, begun: float, report_progress: ReportProgress
) -> OwnMetrics:
    """Evaluate the model as its space does, write the evaluation, and return it.

    Args:
        subject: The model, its space and its data.
        folder: Folder for temporary files.
        cache: Folder for unpacked images.
        begun: Value of the monotonic clock when the evaluation began.
        report_progress: Called before the evaluation, whose progress is unknown.

    Raises:
        SpaceError: The model, the data or the evaluation has a fault.
        EnvironmentFailure: The data cannot be read now.
    """
    bucket, best, space = subject.bucket, subject.best, subject.space
    study = subject.state.settings
    assert best.checkpoint is not None and best.best_epoch is not None and best.score is not None  # noqa: PT018
    own, file, where = has_own_evaluation(space), folder / "checkpoint.keras", f"{bucket.url}: {best.checkpoint}"
    bucket.download(best.checkpoint, file)
    model = saved_model.load_model(file, where, compiled=not own)
    require_compiled(space, model)
    test = _test_part(subject, cache)
    report_progress(Progress("testing", 0, 0))
    results = evaluate(space, model, test, study.evaluation.batch_size)
    validation_images = 0
    if subject.manifest is not None:
        validation = open_validation(bucket, subject.manifest, study.data.validation, study.validation_seed, cache)
        validation_images = validation.count
    metrics = OwnMetrics(
        study=study.name,
        best_trial=best.trial_id,
        best_epoch=best.best_epoch,
        hyperparameters=best.hyperparameters,
        objective=study.search.objective,
        score=best.score,
        checkpoint=best.checkpoint,
        data_digest=subject.state.data_digest,
        seed=study.seed,
        test_evaluations=subject.evaluations,
        confirmation=confirmed_trials(subject.state),
        versions=software_versions(),
        duration_s=round(time.monotonic() - begun, 3),
        verified=False,
        results=results,
        own_evaluate=own,
        samples=test.count,
    )
    history = attempts_of(read_records(bucket, study.name))
    origin = provenance(subject.state, best, subject.manifest, validation_images, history, file, space)
    artifacts = make_own_artifacts(metrics, origin, subject.state, history)
    metrics = metrics.model_copy(update={"not_made": artifacts.failed})
    stripped = folder / names.BEST_MODEL
    saved_model.save_for_prediction(
        saved_model.load_model(file, where), stripped
    )  # as saved, not as evaluate() left it
    files = {names.PROVENANCE_JSON: origin.model_dump_json(indent=2).encode(), **artifacts.files}
    replace_evaluation(bucket, metrics, stripped, files, artifacts.failed)
    return metrics


def _test_part(subject: OwnSubject, cache: Path) -> OwnPart:
    if subject.manifest is None:
        return load_part(subject.space, Part.TEST, subject.state.settings.validation_seed)
    images = open_split(subject.bucket, subject.manifest, "test", cache)
    return OwnPart((images.images, images.labels), images.count, None)
