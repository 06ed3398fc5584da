"""Runs the evaluator: it measures the best trial's model on the test split, once, and writes the evaluation.

A space with its own data or its own `evaluate` is evaluated by `tuner.evaluator.own_evaluation`, and a script by
`tuner.evaluator.script_evaluation`.
"""

import logging
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner import names
from tuner.bucket import Bucket
from tuner.errors import DamagedResultError, EnvironmentFailure, NoResultError
from tuner.evaluation.own_result import AnyMetrics
from tuner.evaluation.predictions import to_csv_gz
from tuner.evaluation.result import Metrics
from tuner.evaluation.result_files import read_metrics
from tuner.evaluation.result_json import confusion_json
from tuner.study.journal import read_records, read_study
from tuner.study.progress import why_no_result
from tuner.study.state import StudyState
from tuner.study.tensorboard import EventFiles
from tuner.study.trial import Trial

if TYPE_CHECKING:
    from tuner.evaluation.measurement import Measured, ReportProgress, Subject
    from tuner.evaluation.provenance import Provenance
    from tuner.evaluation.recomputation import Recomputed
    from tuner.study.attempts import History

__all__ = ["AnyMetrics", "evaluate", "evaluated", "read_metrics"]

log = logging.getLogger(__name__)


def evaluate(
    bucket: Bucket, study: str, cache: Path, report_progress: "ReportProgress" = lambda progress: None
) -> AnyMetrics:
    """Measure the study's best trial on the test split, write the evaluation to the bucket, and return it.

    If the bucket already has an evaluation of this model, that is returned and the test split is not read.
    `report_progress` is called after each batch. Raises EnvironmentFailure while the search still runs, NoResultError
    if no trial is usable or the best model is not the one that was scored, SpaceError if the best model cannot be
    loaded or does not output probabilities.
    """
    state = read_study(bucket, study)
    best = _best_trial(state, study)
    EventFiles(bucket, state).write()  # the chief may have been killed before it had written them all
    previous = _intact_metrics(bucket, study)
    if previous and _is_of(previous, best, state):
        log.info("trial %s of study %s has been evaluated already", best.trial_id, study)
        return previous
    if previous:
        log.warning(
            "the test split is read again: trial %s is evaluated after trial %s (evaluation %d of study %s)",
            best.trial_id, previous.best_trial, previous.test_evaluations + 1, study,
        )  # fmt: skip
    evaluations = 1 + (previous.test_evaluations if previous else 0)
    return _evaluate(bucket, state, best, cache, report_progress=report_progress, evaluations=evaluations)


def evaluated(bucket: Bucket, study: str) -> AnyMetrics | None:
    """Return the evaluation of the study's best model if the bucket has it, else None.

    Raises EnvironmentFailure or NoResultError as `evaluate` does.
    """
    state = read_study(bucket, study)
    best = _best_trial(state, study)
    metrics = _intact_metrics(bucket, study)
    return metrics if metrics and _is_of(metrics, best, state) else None


def _intact_metrics(bucket: Bucket, study: str) -> AnyMetrics | None:
    """Return the study's evaluation; None if there is none, or if it is damaged and must be made again."""
    try:
        return read_metrics(bucket, study)
    except DamagedResultError as error:
        log.warning("%s", error)
        return None


def _best_trial(state: StudyState, study: str) -> Trial:
    if state.finished is None:
        raise EnvironmentFailure(
            f"The search of study {study!r} has not ended. Try again after its end, so that the test split is "
            "read only once."
        )
    if best := state.best(1):
        return best[0]
    raise NoResultError(why_no_result(state))


def _is_of(metrics: AnyMetrics, best: Trial, state: StudyState) -> bool:
    return (metrics.best_trial, metrics.checkpoint, metrics.data_digest) == (
        best.trial_id,
        best.checkpoint,
        state.data_digest,
    )


def _evaluate(
    bucket: Bucket, state: StudyState, best: Trial, cache: Path, *, report_progress: "ReportProgress", evaluations: int
) -> AnyMetrics:
    # Modules that need Keras or the data are imported here, so that an existing evaluation is returned without them.
    from tuner.data.arrays import open_split, open_validation
    from tuner.data.manifest import read_manifest
    from tuner.data.source import Progress
    from tuner.evaluation import saved_model
    from tuner.evaluation.measurement import RunnerUpModel, Subject, measure
    from tuner.evaluator.own_evaluation import OwnSubject, evaluate_own
    from tuner.evaluator.provenance import provenance
    from tuner.evaluator.verification import verify
    from tuner.spaces import load_own_space, load_space
    from tuner.spaces.own_methods import takes_images
    from tuner.study.attempts import attempts_of

    begun = time.monotonic()
    checkpoint = best.checkpoint
    assert checkpoint is not None  # StudyState.best returns no trial without a checkpoint
    study = state.settings
    if study.space.script is not None:
        from tuner.evaluator.script_evaluation import ScriptSubject, evaluate_script

        report_progress(Progress("testing", 0, 0))
        with _folder_in(cache) as folder:
            return evaluate_script(ScriptSubject(bucket, state, best, evaluations), Path(folder), begun)
    manifest = None if study.data.own else read_manifest(bucket, state.data_digest)
    space = (  # loading it registers a user's own layers
        load_space(study.space, manifest.image_shape, len(manifest.classes))
        if manifest
        else load_own_space(study.space)
    )
    if manifest is None or not takes_images(space):
        with _folder_in(cache) as folder:
            own = OwnSubject(bucket, state, best, evaluations, space, manifest)
            return evaluate_own(own, Path(folder), cache, begun, report_progress)

    with _folder_in(cache) as folder:

        def load(name: str, file: str) -> Any:
            path = Path(folder, file)
            bucket.download(name, path)
            return saved_model.load_model(path, f"{bucket.url}: {name}")

        def runner_up() -> RunnerUpModel | None:
            others = [trial for trial in state.best(2) if trial is not best and trial.checkpoint]
            return RunnerUpModel(others[0], load(others[0].checkpoint or "", "other.keras")) if others else None

        model = load(checkpoint, "checkpoint.keras")
        validation = open_validation(bucket, manifest, study.data.validation, study.validation_seed, cache)
        file = Path(folder, "checkpoint.keras")
        recomputed = verify(model, file, best, state, validation, report_progress)
        test = open_split(bucket, manifest, "test", cache)
        subject = Subject(state, best, checkpoint, manifest, evaluations, test, validation)
        measured = measure(subject, model, runner_up, report_progress, lambda: time.monotonic() - begun)
        measured = replace(measured, metrics=measured.metrics.model_copy(update=_verification(recomputed)))
        history = attempts_of(read_records(bucket, study.name))
        origin = provenance(state, best, manifest, len(validation.labels), history, file, space)
        stripped = Path(folder, names.BEST_MODEL)
        saved_model.save_for_prediction(model, stripped)
        return _replace(bucket, measured, subject, origin, history, stripped)


def _verification(recomputed: "Recomputed | None") -> dict[str, Any]:
    """Return the fields of metrics.json about the recomputed score."""
    return {"verified": recomputed is not None, "recomputed_score": recomputed.value if recomputed else None}


def _folder_in(cache: Path) -> "tempfile.TemporaryDirectory[str]":
    try:
        cache.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix="evaluate-", dir=cache)
    except OSError as error:
        raise EnvironmentFailure(
            f"{cache}: the cache cannot be used ({error.strerror or error}). "
            f"Choose another folder with {names.ENV_CACHE}."
        ) from None


def _replace(
    bucket: Bucket, measured: "Measured", subject: "Subject", origin: "Provenance", history: "History", model: Path
) -> Metrics:
    """Replace all files of the evaluation, and return the content of metrics.json."""
    from tuner.evaluator.artifacts import make_artifacts
    from tuner.evaluator.result_writer import replace_evaluation

    artifacts = make_artifacts(measured, subject, origin, history)  # before the first file is written
    metrics = measured.metrics.model_copy(update={"not_made": artifacts.failed})
    files = _files(measured, subject, origin) | artifacts.files
    obsolete = {names.ROBUSTNESS_PNG, names.ROBUSTNESS_SAMPLES_PNG, *artifacts.failed}
    replace_evaluation(bucket, metrics, model, files, obsolete)
    return metrics


def _files(measured: "Measured", subject: "Subject", origin: "Provenance") -> dict[str, bytes]:
    """Return the machine-readable files beside metrics.json, by name."""
    metrics, manifest = measured.metrics, subject.manifest
    test = manifest.splits["test"]
    return {
        names.PREDICTIONS_CSV: to_csv_gz(
            test.names, test.sha256, subject.test.labels, measured.predictions, manifest.classes
        ),
        names.CONFUSION_JSON: confusion_json(metrics).encode(),
        names.PROVENANCE_JSON: origin.model_dump_json(indent=2).encode(),
    }
