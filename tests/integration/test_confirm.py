"""A real search trains its best trials again with other seeds, and evaluates a model of the winner."""

import json

import pytest

from tests.integration.in_process import do_here
from tests.integration.support import Place, settings, space
from tuner import names
from tuner.study.records import TrialState

pytestmark = pytest.mark.slow


def test_the_best_trials_are_trained_again_with_other_seeds_and_the_winner_is_evaluated(
    place: Place, two_colours: str
) -> None:
    done = place.do(
        *("run", "--data", two_colours, *space("Tiny")),
        *settings(search__max_trials=2, search__confirm__best=2, search__confirm__seeds=2),
        *settings(training__epochs=2, data__batch_size=16, evaluation__robustness_images=0),
    )
    assert done.code == 0, done.err
    state = place.state()
    assert len(state.trials) == 6
    assert {trial.state for trial in state.trials.values() if trial.repeats} == {TrialState.COMPLETED}
    first, second = (candidate.original.trial_id for candidate in state.confirmation)
    assert sorted(state.trials[trial_id].repeats or "" for trial_id in state.repetitions) == sorted([first, second] * 2)
    curves = [
        [metrics["loss"] for metrics in trial.metrics]
        for trial in state.trials.values()
        if first in (trial.trial_id, trial.repeats)
    ]
    assert len(curves) == len({tuple(curve) for curve in curves}) == 3, "each of them has another seed"
    metrics = json.loads(place.bucket.read(names.evaluation(place.study, names.METRICS_JSON)))
    (best,) = state.best()
    assert metrics["best_trial"] == best.trial_id
    assert first in (best.trial_id, best.repeats)
    assert [row["trial"] for row in metrics["confirmation"]] == [first, second]
    assert [len(row["scores"]) for row in metrics["confirmation"]] == [2, 2]
    page = place.bucket.read(names.evaluation(place.study, names.REPORT_HTML)).decode()
    assert "Trained again with other seeds" in page
    assert "4 of 4 repetitions have ended" in do_here(place, "status").out
    assert f"(repeats {first})" in do_here(place, "trials").out
