"""One study among the others of its bucket: its state, best score, worker-hours and size, for `studies`."""

import time
from concurrent.futures import ThreadPoolExecutor

from pydantic import BaseModel, ConfigDict

from tuner import names
from tuner.bucket import Bucket
from tuner.errors import CifakeTuneError
from tuner.study.budgets import HOUR_S
from tuner.study.journal import read_study
from tuner.study.status import Activity
from tuner.study.views import StudyView, view_study

AT_ONCE = 8
"""Number of studies that are read concurrently."""


class StudySummary(BaseModel):
    """One study in the list of `studies`. All fields but `study`, `size_bytes` and `problem` are None if the study
    cannot be read."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    study: str
    state: str | None = None
    """finished, unfinished, or fault, as in `status --json`."""
    activity: Activity | None = None
    trials: str | None = None
    """How many trials have ended, and of how many if that is limited, such as `3 of 10`."""
    objective: str | None = None
    best_trial: str | None = None
    best_score: float | None = None
    worker_hours: float | None = None
    """Hours of all workers, with those in which they had no trial."""
    cost: float | None = None
    """Cost of these hours; None if `cost.per_worker_hour` is not set."""
    size_bytes: int
    """Size of the study's own objects in the bucket, without the data set, which studies share."""
    data: str | None = None
    """Digest of the packed data set; `own` if the space brings its own data."""
    problem: str = ""
    """Why the study cannot be read; empty if it can."""


def summarize(bucket: Bucket) -> list[StudySummary]:
    """Return a summary of every study of the bucket, sorted by name. Raises BucketError."""
    studies = list(bucket.folders(names.STUDIES_PREFIX))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda study: _summary(bucket, study), studies))


def _summary(bucket: Bucket, study: str) -> StudySummary:
    size_bytes = bucket.size_bytes(names.study_prefix(study))
    try:
        view = view_study(read_study(bucket, study), time.time())
    except CifakeTuneError as error:
        has_journal = any(True for _ in bucket.list(names.journal_prefix(study)))
        problem = str(error) if has_journal else f"it has no journal. cifake-tune delete {study} deletes what is left"
        return StudySummary(study=study, size_bytes=size_bytes, problem=problem)
    return StudySummary(
        study=study,
        state=view.state,
        activity=view.activity,
        trials=view.ended_trials,
        objective=view.objective,
        best_trial=view.best_trial,
        best_score=view.best_score,
        worker_hours=worker_hours(view),
        cost=view.work.cost if view.work else None,
        size_bytes=size_bytes,
        data=view.data,
    )


def worker_hours(view: StudyView) -> float | None:
    """Return the hours of all workers; None if none have been recorded."""
    return None if view.work is None else round(sum(view.work.seconds.values()) / HOUR_S, 6)
