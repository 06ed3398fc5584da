"""Evaluates a study of a script: the script runs past its search, with the models of the bucket, and is observed."""

import logging
import sys
import time
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from tuner import names
from tuner.bucket import Bucket
from tuner.evaluation import saved_model
from tuner.evaluation.confirmed import confirmed_trials
from tuner.evaluation.measurement import software_versions
from tuner.evaluation.own_result import OwnMetrics, ScriptOutcome
from tuner.evaluator.artifacts import make_own_artifacts
from tuner.evaluator.provenance import provenance
from tuner.evaluator.result_writer import replace_evaluation
from tuner.printable import LINES, printable
from tuner.scripts.observation import Observed, observing
from tuner.scripts.results import serve_results
from tuner.scripts.session import ScriptSearch, run_past_search, script_file
from tuner.spaces.error_cause import cause_of
from tuner.study.attempts import attempts_of
from tuner.study.journal import read_records
from tuner.study.state import StudyState
from tuner.study.trial import Trial

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScriptSubject:
    """A study of a script, whose search has finished."""

    bucket: Bucket
    state: StudyState
    best: Trial
    evaluations: int
    """Number of times that the script has run past its search, including this one."""


def evaluate_script(subject: ScriptSubject, folder: Path, begun: float) -> OwnMetrics:
    """Run the script past its search, write the evaluation, and return it.

    Args:
        subject: The study.
        folder: Folder for temporary files.
        begun: Value of the monotonic clock when the evaluation began.

    Raises:
        ScriptError: The script fails, or the best model cannot be built again.
        EnvironmentFailure: The bucket, or the system while the script loaded its data, failed.
    """
    bucket, state, best = subject.bucket, subject.state, subject.best
    study, observed = state.settings, Observed()
    file, model = folder / "checkpoint.keras", folder / names.BEST_MODEL
    assert best.checkpoint is not None and best.best_epoch is not None and best.score is not None  # noqa: PT018
    bucket.download(best.checkpoint, file)
    # what the script prints must not precede the evaluation that `evaluate --json` prints
    with redirect_stdout(sys.stderr), ExitStack() as after_search:

        def take_over(search: ScriptSearch) -> None:
            serve_results(search, bucket, state, folder)
            _save_best(search, model)
            after_search.enter_context(observing(observed))

        run_past_search(study.space, take_over)
    script = script_file(study.space)
    evaluations = tuple(observed.evaluations)
    outcome = ScriptOutcome(file=script.name, evaluations=evaluations, printed=printable(observed.printed, keep=LINES))
    metrics = OwnMetrics(
        study=study.name,
        best_trial=best.trial_id,
        best_epoch=best.best_epoch,
        hyperparameters=best.hyperparameters,
        objective=study.search.objective,
        score=best.score,
        checkpoint=best.checkpoint,
        data_digest=state.data_digest,
        seed=study.seed,
        test_evaluations=subject.evaluations,
        confirmation=confirmed_trials(state),
        versions=software_versions(),
        duration_s=round(time.monotonic() - begun, 3),
        verified=bool(best.verified),
        results=evaluations[0] if evaluations else {study.search.objective: best.score},
        own_evaluate=False,
        script=outcome,
    )
    history = attempts_of(read_records(bucket, study.name))
    origin = provenance(state, best, None, 0, history, file, script)
    missing = () if model.exists() else (names.BEST_MODEL,)
    artifacts = make_own_artifacts(metrics.model_copy(update={"not_made": missing}), origin, state, history)
    metrics = metrics.model_copy(update={"not_made": (*artifacts.failed, *missing)})
    files = {
        names.PROVENANCE_JSON: origin.model_dump_json(indent=2).encode(),
        names.OUTPUT_TXT: f"{outcome.printed}\n".encode("utf-8", "backslashreplace"),
        **artifacts.files,
    }
    replace_evaluation(bucket, metrics, model if model.exists() else None, files, artifacts.failed)
    return metrics


def _save_best(search: ScriptSearch, path: Path) -> None:
    """Save the best model for plain Keras, if Keras can save it. The script's own code may be needed to load it."""
    try:
        saved_model.save_for_prediction(search.tuner.get_best_models()[0], path)
    except (NotImplementedError, TypeError, ValueError) as error:
        path.unlink(missing_ok=True)
        log.warning("%s is not written, because Keras cannot save the model (%s)", names.BEST_MODEL, cause_of(error))
