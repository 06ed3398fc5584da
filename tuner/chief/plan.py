"""Plans a search before its first trial: explores the space, checks the settings against it, creates the algorithm."""

import logging
from dataclasses import dataclass

from keras_tuner import HyperModel
from keras_tuner.engine.hyperparameters import HyperParameters

from tuner import spaces
from tuner.bucket import Bucket, open_bucket
from tuner.chief.context import ChiefContext
from tuner.config.settings import Study
from tuner.data.manifest import Manifest
from tuner.errors import ConfigError
from tuner.scripts.session import ScriptSearch
from tuner.scripts.space import script_space
from tuner.search.constraints import rejection
from tuner.search.learning import learn
from tuner.search.suggester import Restrictions, Suggester, make_suggester, objective_of
from tuner.search.suggester.initial_points import without_model
from tuner.search.suggester.unit_interval import tunable
from tuner.spaces.exploration import explore
from tuner.spaces.first_points import first_points
from tuner.spaces.model_size import parameters_with, space_size
from tuner.study.journal import JournalReader
from tuner.study.objective import Objective
from tuner.study.records import LearnedTrial, ModelSizes
from tuner.study.state import StudyState

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchPlan:
    """How new trials are chosen."""

    hyperparameters: HyperParameters
    """The space, narrowed by the study's setting space.values."""
    suggester: Suggester
    objective: Objective
    model_sizes: ModelSizes | None


def plan_search(study: Study, manifest: Manifest | None, script: ScriptSearch | None = None) -> SearchPlan:
    """Explore the space by building the model once, and create the algorithm that samples it.

    `manifest` is None if the space brings its own data, and `script` is None if the study has none.
    Raises SpaceError if the space does not fit the settings.
    """
    if script is not None:
        space, whole = script.tuner.hypermodel, script_space(script)
    elif manifest is None:
        space = spaces.load_own_space(study.space)
        whole = explore(space, None)
    else:
        space = spaces.load_space(study.space, manifest.image_shape, len(manifest.classes))
        whole = explore(space, manifest.image_shape)
    hyperparameters = spaces.narrow(whole, study.space.values)
    objective = objective_of(study.search)
    sizes = _model_sizes(space, hyperparameters)
    restrictions = restrictions_of(study, space, hyperparameters, sizes.parameters if sizes else None)
    suggester = make_suggester(study, hyperparameters, objective, restrictions)
    return SearchPlan(hyperparameters, suggester, objective, sizes)


def restrictions_of(
    study: Study, space: HyperModel, hyperparameters: HyperParameters, default_parameters: int | None
) -> Restrictions:
    """Return what the settings say about the configurations that may be suggested.

    Args:
        study: The settings.
        space: The space.
        hyperparameters: Its hyperparameters, narrowed by space.values.
        default_parameters: Number of parameters of the model with the default hyperparameters; None if it is unknown.

    Raises:
        SpaceError: search.first or search.constraints does not fit the space.
    """
    first = first_points(hyperparameters, study.search.first)
    is_rejected = rejection(
        study.search.constraints,
        lambda values: parameters_with(space, hyperparameters, values),
        default_parameters,
        first,
    )
    return Restrictions(first, is_rejected)


def learn_once(context: ChiefContext, plan: SearchPlan, state: StudyState) -> tuple[LearnedTrial, ...]:
    """Return the trials of search.learn_from, which only the study's first chief reads. Warn if no model will be used.

    Raises ConfigError if nothing can be learned from one of the studies.
    """
    search, learned = context.study.search, state.learned
    if state.study is None:
        learned = learned_trials(context.study, plan.hyperparameters, context.digest, context.bucket)
    if warning := without_model(search, len(tunable(plan.hyperparameters)), len(learned)):
        log.warning("%s", warning)
    return learned


def learned_trials(
    study: Study, hyperparameters: HyperParameters, digest: str, bucket: Bucket
) -> tuple[LearnedTrial, ...]:
    """Return the trials of search.learn_from.

    Args:
        study: The settings.
        hyperparameters: The space's hyperparameters, narrowed by space.values.
        digest: Digest of the data set.
        bucket: Bucket with the studies that are written as names.

    Raises:
        ConfigError: Nothing can be learned from one of the studies.
    """
    objective = objective_of(study.search)
    return learn(study, hyperparameters.space, objective, digest, lambda name: _earlier(name, bucket, study))


def _earlier(name: str, bucket: Bucket, study: Study) -> StudyState:
    """Return the state of the study with this name in the bucket, or with this URL."""
    url, _, study_name = name.rpartition("/")
    if not url and study_name == study.name:
        raise ConfigError(f"search.learn_from: study {name!r} cannot learn from itself. Remove it.")
    reader = JournalReader(open_bucket(url) if url else bucket, study_name)
    reader.poll()
    return reader.state


def _model_sizes(space: HyperModel, hyperparameters: HyperParameters) -> ModelSizes | None:
    """Log and return the sizes of the space's models."""
    size = space_size(space, hyperparameters)
    if size is None:
        return None
    log.info("with the default hyperparameters, the model has %s", size.default)
    if size.largest:
        log.info("with the largest ones, it has %s", size.largest)
    return ModelSizes(
        parameters=size.default.parameters,
        checkpoint_bytes=size.default.checkpoint_bytes,
        largest_parameters=size.largest.parameters if size.largest else None,
        largest_checkpoint_bytes=size.largest.checkpoint_bytes if size.largest else None,
    )
