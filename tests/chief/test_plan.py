"""What a chief does before its first trial with search.first, search.constraints and search.learn_from."""

import logging
from pathlib import Path
from typing import Any

import pytest

from tuner import names
from tuner.address import Address
from tuner.bucket.local import LocalBucket
from tuner.chief import run
from tuner.chief.context import ChiefContext
from tuner.chief.monitor import ChiefMonitor
from tuner.chief.plan import SearchPlan, plan_search
from tuner.config.loading import load
from tuner.config.settings import Study
from tuner.errors import ConfigError, ExitCode, SpaceError, UsageError
from tuner.monitoring.catalogue import Role
from tuner.monitoring.endpoint import Monitor
from tuner.search.suggester import NoSuggestion, Suggestion, make_suggester
from tuner.study.compatibility import check_unchanged
from tuner.study.journal import encode, read_study
from tuner.study.records import Created, Ended, Finished, Leased, Opened, Record, Reported, TrialState
from tuner.study.state import StudyState

SPACE = """
import keras
import keras_tuner

class Dense(keras_tuner.HyperModel):
    def data(self, part):
        raise AssertionError("the chief loads no data")

    def build(self, hp):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(hp.Int("units", 10, 100, step=10, default=20))])
        rate = hp.Float("learning_rate", 1e-4, 1e-1, sampling="log", default=1e-3)
        momentum = 0.0
        if hp.Choice("optimizer", ["adam", "sgd"]) == "sgd":
            with hp.conditional_scope("optimizer", ["sgd"]):
                momentum = hp.Float("momentum", 0.1, 0.9, step=0.2)
        model.compile(keras.optimizers.SGD(rate, momentum), "mse", ["mae"])
        return model
"""
DEFAULTS = {"units": 20, "learning_rate": 1e-3, "optimizer": "adam"}


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "dense_space.py").write_text(SPACE, encoding="utf-8")
    return folder


def study_of(code: Path, *settings: str) -> Study:
    own = ["data.own=true", "space.import=dense_space:Dense", f"space.code={code}"]
    return load(settings=[*own, "search.objective=val_mae", "search.direction=min", *settings])


def planned(code: Path, *settings: str) -> SearchPlan:
    return plan_search(study_of(code, *settings), None)


def suggestions(plan: SearchPlan, count: int) -> list[dict[str, Any]]:
    suggested = [plan.suggester.suggest() for _ in range(count)]
    return [suggestion.values for suggestion in suggested if isinstance(suggestion, Suggestion)]


# ---- search.first -------------------------------------------------------------------------------


def test_the_first_configurations_are_completed_with_the_defaults(code: Path) -> None:
    plan = planned(code, "search.first=[{learning_rate: 0.01}, default, {optimizer: sgd, momentum: 0.5}]")
    first = suggestions(plan, 3)
    assert first[0] == {**DEFAULTS, "learning_rate": 0.01}
    assert first[1] == DEFAULTS
    assert first[2] == {**DEFAULTS, "optimizer": "sgd", "momentum": pytest.approx(0.5)}


@pytest.mark.parametrize(
    ("first", "sentence"),
    [
        ("[{learning_rat: 0.01}]", "search.first[0]: the space has no hyperparameter 'learning_rat'. Did you mean "
         "'learning_rate'?"),
        ("[default, {units: 7}]", "search.first[1].units: must be a whole number from 10 to 100, got 7."),
        ("[{units: 25}]", "search.first[0].units: must be one of its steps, of which 20 is the nearest, got 25."),
        ("[{optimizer: lion}]", 'search.first[0].optimizer: must be one of ["adam", "sgd"], got "lion".'),
        ("[{momentum: 0.3}]", "search.first[0].momentum: has no effect, because it is used only if optimizer is "
         '"sgd". Set that too.'),
    ],
)  # fmt: skip
def test_a_first_configuration_outside_the_space_is_refused(code: Path, first: str, sentence: str) -> None:
    with pytest.raises(SpaceError) as caught:
        planned(code, f"search.first={first}")
    assert sentence in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_first_configuration_must_be_in_the_narrowed_space(code: Path) -> None:
    with pytest.raises(SpaceError, match="units: must be 50, got 20"):
        planned(code, "space.values={units: 50}", "search.first=[{units: 20}]")


# ---- search.constraints -------------------------------------------------------------------------


def test_models_with_too_many_parameters_are_not_suggested(code: Path) -> None:
    """A model has 5 parameters per unit."""
    free = [values["units"] for values in suggestions(planned(code), 10)]
    bounded = [values["units"] for values in suggestions(planned(code, "search.constraints.parameters=2e2"), 10)]
    assert len(bounded) == 10
    assert max(bounded) <= 40 < max(free)


def test_a_first_configuration_must_satisfy_the_constraints(code: Path) -> None:
    with pytest.raises(SpaceError, match=r"search.first\[0\]: the model has 500 parameters"):
        planned(code, "search.constraints.parameters=200", "search.first=[{units: 100}]")


# ---- search.learn_from --------------------------------------------------------------------------


def history(study: Study, units: list[int], direction: Any = "min") -> list[Record]:
    """Return the records of a study in which each trial has trained two epochs, the fewer units the better."""
    records: list[Record] = [Opened(at=0, term=1, writer="w", study=study, data="own", direction=direction)]
    for number, each in enumerate(units):
        trial = names.TrialId(f"{number:05d}")
        records += [
            Created(at=0, trial=trial, hyperparameters={**DEFAULTS, "units": each}, algorithm={}),
            Leased(at=0, trial=trial, attempt=1, worker="w", incarnation="i"),
            Reported(at=0, trial=trial, attempt=1, epoch=0, metrics={study.search.objective: each + 0.5}),
            Reported(at=0, trial=trial, attempt=1, epoch=1, metrics={study.search.objective: float(each)}),
            Ended(at=0, trial=trial, attempt=1, state=TrialState.COMPLETED, score=float(each), best_epoch=1),
        ]
    return records


def write(bucket: LocalBucket, records: list[Record], segment: int = 1) -> None:
    opened = records[0]
    assert isinstance(opened, Opened)
    bucket.create(names.journal_segment(opened.study.name, segment), encode(segment, "w", records))


def chief(bucket: LocalBucket, study: Study, monkeypatch: pytest.MonkeyPatch) -> StudyState:
    """Run a chief up to its search, and return the state of the study."""
    monkeypatch.setattr(run, "_search", lambda *_: None)
    monitor = ChiefMonitor(bucket, study.name, Monitor(Role.CHIEF))
    run._run(ChiefContext(bucket, study, "own", Address("127.0.0.1", 0), None, None, monitor))
    return read_study(bucket, study.name)


def test_an_earlier_study_is_learned_from_once_and_its_growth_changes_nothing(
    code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, elsewhere = LocalBucket(tmp_path / "bucket"), LocalBucket(tmp_path / "elsewhere")
    before = history(study_of(code, "name=before", "training.epochs=2"), [10, 40])
    write(bucket, before)
    write(elsewhere, history(study_of(code, "name=other", "training.epochs=1"), [20, 60]))
    studies = f"search.learn_from=[before, {tmp_path / 'elsewhere'}/other]"
    study = study_of(code, "name=now", studies, "training.epochs=2", "search.algorithm=tpe", "search.initial_points=4")
    state = chief(bucket, study, monkeypatch)
    assert [(trial.hyperparameters["units"], trial.score) for trial in state.learned] == [
        (10, 10.0), (40, 40.0), (20, 20.0), (60, 60.0),
    ]  # fmt: skip
    assert [trial.completed for trial in state.learned] == [True, True, False, False]  # trained for fewer epochs
    assert state.learned[0].rungs == {0: 10.5}
    assert state.trials == {}
    plan = plan_search(study, None)
    plan.suggester.restore(state)
    suggested = plan.suggester.suggest()
    assert isinstance(suggested, Suggestion)

    more = history(study_of(code, "name=before", "training.epochs=2"), [10, 40, 90])
    write(bucket, [more[0].model_copy(update={"term": 2}), *more[11:]], segment=2)
    assert len(read_study(bucket, "before").trials) == 3
    again = chief(bucket, study, monkeypatch)
    assert again.term == 2
    assert again.learned == state.learned
    restarted = plan_search(study, None)
    restarted.suggester.restore(again)
    assert restarted.suggester.suggest() == suggested


def test_what_was_learned_replaces_initial_points_and_is_not_repeated(code: Path, tmp_path: Path) -> None:
    def units(learned: bool) -> list[int]:
        settings = ["search.algorithm=tpe", "search.initial_points=9", "search.max_trials=9"]
        narrow = "space.values={units: [10, 20, 30, 40], learning_rate: 0.001, optimizer: adam}"
        study = study_of(code, *settings, narrow)
        plan = plan_search(study, None)
        state = StudyState()
        if learned:
            state.learned = tuple(
                each.model_copy(update={"hyperparameters": {**DEFAULTS, "units": number}})
                for each, number in zip(learned_trials(code, tmp_path, study), (10, 30), strict=True)
            )
        plan.suggester.restore(state)
        return [int(values["units"]) for values in suggestions(plan, 5)]

    assert sorted(units(learned=False)) == [10, 20, 30, 40]
    assert sorted(units(learned=True)) == [20, 40]


def learned_trials(code: Path, tmp_path: Path, study: Study) -> Any:
    from tuner.search.learning import learn

    plan = plan_search(study, None)
    state = StudyState()
    for record in history(study_of(code, "name=before"), [10, 30]):
        state.apply(record)
    asked = study.model_copy(update={"search": study.search.model_copy(update={"learn_from": ["before"]})})
    return learn(asked, plan.hyperparameters.space, plan.objective, "own", lambda _: state)


@pytest.mark.parametrize(
    ("settings", "before", "sentence"),
    [
        (["search.learn_from=[befor]"], [], "there is no study 'befor'"),
        (["search.learn_from=[now]"], [], "study 'now' cannot learn from itself"),
        (["search.learn_from=[before]"], ["search.objective=val_loss"], "has the objective val_loss (min), and this "
         "study val_mae (min)"),
        (["search.learn_from=[before]", "space.values={units: 50}"], [], "none of the 2 trials of study 'before' that "
         "have a score is in this study's space"),
    ],
)  # fmt: skip
def test_a_study_from_which_nothing_can_be_learned_is_refused(
    code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: list[str], before: list[str], sentence: str
) -> None:
    bucket = LocalBucket(tmp_path / "bucket")
    write(bucket, history(study_of(code, "name=before", *before), [10, 40]))
    with pytest.raises(ConfigError) as caught:
        chief(bucket, study_of(code, "name=now", *settings), monkeypatch)
    assert sentence in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE
    assert not list(bucket.list(names.journal_prefix("now")))


def test_studies_without_common_hyperparameters_cannot_teach_each_other(code: Path, tmp_path: Path) -> None:
    import keras_tuner

    from tuner.search.learning import learn

    study = study_of(code, "search.learn_from=[before]")
    state = StudyState()
    for record in history(study_of(code, "name=before"), [10]):
        state.apply(record)
    hp = keras_tuner.HyperParameters()
    hp.Boolean("norm")
    with pytest.raises(
        ConfigError, match="has the hyperparameters learning_rate, optimizer, units, and this study norm"
    ):
        learn(study, hp.space, plan_search(study, None).objective, "own", lambda _: state)


def test_a_warning_says_that_no_model_will_be_used(
    code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        study = study_of(code, "search.algorithm=bayesian", "search.max_trials=4")
        chief(LocalBucket(tmp_path / "bucket"), study, monkeypatch)
    assert "search.algorithm bayesian suggests none with its model" in caplog.text


# ---- studies of earlier versions ----------------------------------------------------------------


def begun_earlier(code: Path, algorithm: str, *later: Record) -> tuple[Study, StudyState]:
    study = study_of(code, f"search.algorithm={algorithm}")
    state = StudyState()
    for record in (Opened(at=0, term=1, writer="w", study=study, data="own", direction="min"), *later):
        state.apply(record)
    return study, state


def test_a_bayesian_study_of_an_earlier_version_is_refused_because_its_suggestions_would_change(code: Path) -> None:
    study, state = begun_earlier(code, "bayesian")
    with pytest.raises(UsageError, match=r"search\.algorithm bayesian suggests other trials") as caught:
        check_unchanged(state, study, "own")
    assert caught.value.exit_code == ExitCode.USAGE
    for algorithm in ("random", "grid", "hyperband"):
        study, state = begun_earlier(code, algorithm)
        check_unchanged(state, study, "own")
    study, state = begun_earlier(code, "bayesian", Finished(at=1, reason="all trials have ended"))
    check_unchanged(state, study, "own")


def test_a_bayesian_study_of_this_version_continues(
    code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, study = LocalBucket(tmp_path / "bucket"), study_of(code, "search.algorithm=bayesian")
    assert [chief(bucket, study, monkeypatch).term for _ in range(2)] == [1, 2]


def test_the_initial_points_stay_those_with_which_the_study_began(code: Path) -> None:
    """Their default is a third of search.max_trials, which may grow."""
    plan = planned(code, "search.algorithm=bayesian", "search.max_trials=12")
    suggestion = plan.suggester.suggest()
    assert suggestion is not NoSuggestion.EXHAUSTED
    assert isinstance(suggestion, Suggestion)
    study = study_of(code, "search.algorithm=bayesian", "search.max_trials=60")
    state = StudyState()
    state.apply(Opened(at=0, term=1, writer="w", study=study, data="own", direction="min"))
    trial = Created(at=0, trial=suggestion.trial, hyperparameters=suggestion.values, algorithm=suggestion.algorithm)
    state.apply(trial)
    resumed = make_suggester(study, plan.hyperparameters, plan.objective)
    assert resumed._initial_points == 14  # type: ignore[attr-defined]
    resumed.restore(state)
    assert resumed._initial_points == 4  # type: ignore[attr-defined]
