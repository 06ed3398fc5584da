"""A study's trials, and their epochs, as rows of a table: for CSV files and data frames.

Columns are named as `pandas.json_normalize` names the keys of `trials --json`: a value within an object has the name
of the object, a dot and its own name.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tuner.study.records import Value
from tuner.study.trial import Trial
from tuner.study.views import TrialView, view_trial

HYPERPARAMETERS = "hyperparameters"
METRICS = "metrics"


@dataclass(frozen=True)
class FlatRows:
    """A table. Every row has one value per column; None where there is none."""

    columns: tuple[str, ...]
    rows: list[tuple[Value | None, ...]]


def trial_rows(trials: Sequence[Trial]) -> FlatRows:
    """Return one row per trial: the fields of `TrialView`, then `hyperparameters.NAME` for each hyperparameter."""
    names = _names(trial.hyperparameters for trial in trials)
    fields = [field for field in TrialView.model_fields if field != HYPERPARAMETERS]
    rows = []
    for trial in trials:
        view = view_trial(trial).model_dump(mode="json")
        values = [view[field] for field in fields] + [trial.hyperparameters.get(name) for name in names]
        rows.append(tuple(values))
    return FlatRows((*fields, *(f"{HYPERPARAMETERS}.{name}" for name in names)), rows)


def epoch_rows(trials: Sequence[Trial]) -> FlatRows:
    """Return one row per reported epoch: `trial_id`, `epoch` (from 1), then `metrics.NAME` for each metric."""
    names = _names(metrics for trial in trials for metrics in trial.epochs.values())
    rows: list[tuple[Value | None, ...]] = []
    for trial in trials:
        for epoch in sorted(trial.epochs):
            rows.append((trial.trial_id, epoch + 1, *map(trial.epochs[epoch].get, names)))
    return FlatRows(("trial_id", "epoch", *(f"{METRICS}.{name}" for name in names)), rows)


def _names(mappings: Iterable[Iterable[str]]) -> list[str]:
    """Return all keys, in the order in which they occur first."""
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))
