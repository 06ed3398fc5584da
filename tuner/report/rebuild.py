"""Rebuilds report.html from the files in the bucket, without reading the test split or importing Keras."""

from pydantic import ValidationError

from tuner import names
from tuner.bucket import Bucket
from tuner.errors import BucketError, EnvironmentFailure, NewerFormatError, ObjectNotFoundError, UsageError
from tuner.evaluation.provenance import Provenance
from tuner.evaluation.result import Metrics
from tuner.evaluation.result_files import check_model_card, check_predictions, problem_of, read_metrics
from tuner.report.html_page import ReportContents, report_html
from tuner.report.sprites import COLUMNS, cut
from tuner.study.attempts import attempts_of
from tuner.study.journal import read_records, read_study


def make_report(bucket: Bucket, study: str) -> str:
    """Return the page of an evaluated study.

    Raises EnvironmentFailure if the study has no evaluation yet, UsageError if a fault of every trial has ended its
    search, BucketError if one of its files is damaged, and NewerFormatError if a file has a newer major version.
    """
    state = read_study(bucket, study)
    metrics = read_metrics(bucket, study)
    if metrics is None and state.shared_fault:
        raise UsageError(
            f"study {study!r} has no evaluation to report, because its search ended with a fault: {state.shared_fault}"
        )
    if metrics is None:
        raise EnvironmentFailure(
            f"study {study!r} has no evaluation in {bucket.url} to report yet. Run `cifake-tune evaluate` after "
            "the search, or `cifake-tune status` during the search."
        )
    check_model_card(bucket, study)
    most_wrong: list[bytes] = []
    corrupted: list[list[bytes]] = []
    if isinstance(metrics, Metrics):
        check_predictions(bucket, metrics)
        most_wrong = _tiles(bucket, study, names.MOST_WRONG_PNG, len(metrics.most_wrong or ()))
        corrupted = _corrupted(bucket, metrics)
    history = attempts_of(read_records(bucket, study))
    return report_html(ReportContents(metrics, _provenance(bucket, study), state, history, most_wrong, corrupted))


def _provenance(bucket: Bucket, study: str) -> Provenance | None:
    name = names.evaluation(study, names.PROVENANCE_JSON)
    try:
        return Provenance.model_validate_json(bucket.read(name))
    except ObjectNotFoundError:
        return None
    except NewerFormatError as error:
        raise NewerFormatError(f"{bucket.url}: {name} {error}") from None
    except ValidationError as error:
        raise BucketError(
            f"{bucket.url}: {name} is damaged ({problem_of(error)}). Restore or delete this object."
        ) from None


def _corrupted(bucket: Bucket, metrics: Metrics) -> list[list[bytes]]:
    """Return the sample images, one list per corruption."""
    if metrics.robustness is None:
        return []
    columns = len(metrics.robustness.disturbances)
    rows = metrics.robustness.samples
    tiles = _tiles(bucket, metrics.study, names.ROBUSTNESS_SAMPLES_PNG, rows * columns, columns)
    return [tiles[column::columns] for column in range(columns)]


def _tiles(bucket: Bucket, study: str, file: str, images: int, columns: int = COLUMNS) -> list[bytes]:
    name = names.evaluation(study, file)
    try:
        return cut(bucket.read(name), images, columns)
    except ObjectNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise BucketError(f"{bucket.url}: {name} is damaged ({error}). Restore or delete this object.") from None
