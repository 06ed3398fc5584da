"""The search space of a script: the hyperparameters that its Tuner knows, and those that its training names."""

from typing import Any

import keras_tuner
from keras_tuner.src.engine.hyperparameters import Fixed
from keras_tuner.src.engine.trial import Trial
from keras_tuner.src.engine.tuner import Tuner

from tuner.config.space_settings import Space
from tuner.errors import PreemptedError, ScriptError
from tuner.names import is_hyperparameter
from tuner.scripts.entry_points import set_for_now
from tuner.scripts.session import ScriptSearch
from tuner.spaces.exploration import NoModel, UsedError, explore_more
from tuner.spaces.own_methods import has_own_fit
from tuner.study.script_change import change_of_script
from tuner.study.state import StudyState


def script_space(search: ScriptSearch) -> keras_tuner.HyperParameters:
    """Return all hyperparameters of the script's search.

    Keras Tuner's constructor has found those that `build` names with the defaults and under conditions. The own
    `run_trial` of a Tuner, the own `fit` of a hypermodel, and builds with other values may name more. Keras Tuner
    learns these from its trials. Here, the two methods are called with placeholders for the model, and end when they
    use it, and the model is built with other values.

    Raises ScriptError if there are no hyperparameters.
    """
    oracle, hypermodel = search.tuner.oracle, search.tuner.hypermodel
    if oracle.tune_new_entries and oracle.allow_new_entries:
        for names_more in (_run_trial, *([_fit] if has_own_fit(hypermodel) else [])):
            hp = oracle.get_space()
            try:
                names_more(search, hp)
            except (UsedError, Exception) as error:  # trials will report real errors
                if isinstance(error, PreemptedError):
                    raise
            oracle.update_space(hp)
        oracle.update_space(explore_more(hypermodel, oracle.get_space()))
    space: keras_tuner.HyperParameters = oracle.get_space()
    if not space.space:
        raise ScriptError(
            "the Tuner has no hyperparameters before its first trial. Name them in build(hp), or give them to the "
            "Tuner (hyperparameters=…)."
        )
    return space


def check_same_space(state: StudyState, space: Space, hyperparameters: keras_tuner.HyperParameters) -> None:
    """Raise ScriptError if the trials of a study whose script has changed have other hyperparameters than it has now.

    A hyperparameter that depends on others, or has only one value, may be in no trial.
    """
    if not state.trials or not change_of_script(state, space):
        return
    recorded = {name for trial in state.trials.values() for name in trial.hyperparameters if is_hyperparameter(name)}
    removed = recorded - {each.name for each in hyperparameters.space}
    expected = {each.name for each in hyperparameters.space if not (each.conditions or isinstance(each, Fixed))}
    changes = [
        f"{what} {', '.join(sorted(which))}"
        for what, which in (("no longer names", removed), ("names the new", expected - recorded))
        if which
    ]
    if changes:
        raise ScriptError(
            f"the hyperparameters of {space.script} have changed since the study began: it {', and '.join(changes)}. "
            "Undo this change, or start a new study with --set name=OTHER."
        )


def _run_trial(search: ScriptSearch, hp: keras_tuner.HyperParameters) -> None:
    def used(*args: Any, **kwargs: Any) -> None:
        raise UsedError

    hypermodel = search.tuner.hypermodel
    with set_for_now(Tuner, "run_trial", used), set_for_now(hypermodel, "build", lambda hp: NoModel()):
        search.tuner.run_trial(Trial(hyperparameters=hp, trial_id="", status="RUNNING"), *search.args, **search.kwargs)


def _fit(search: ScriptSearch, hp: keras_tuner.HyperParameters) -> None:
    search.tuner.hypermodel.fit(hp, NoModel(), *search.args, **{**search.kwargs, "callbacks": []})
