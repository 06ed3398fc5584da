"""Exploration of a search space: finds its hyperparameters by building its model, before the first trial."""

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from tuner.errors import PreemptedError, SpaceError
from tuner.spaces.error_cause import cause_of
from tuner.spaces.loadable import check_loadable, saved_configuration
from tuner.spaces.loading import is_built_in
from tuner.spaces.trial_builds import build_error, error_of

if TYPE_CHECKING:
    import keras_tuner
    from keras_tuner.engine.conditions import Condition
    from keras_tuner.engine.hyperparameters import HyperParameter

log = logging.getLogger(__name__)

BUILDS = 200
"""Maximum number of builds, which take a minute or two. Without it, exploring a space that names new hyperparameters in
each build would never end."""


def explore(
    space: "keras_tuner.HyperModel", image_shape: tuple[int, int, int] | None = (32, 32, 3)
) -> "keras_tuner.HyperParameters":
    """Return all hyperparameters of the space, including those under conditions, in loops and in its `fit`.

    As in Keras Tuner's own chief, its `declare_hyperparameters` is called, and the model is built once for each
    condition that no build has met yet. Then it is built with each value of each choice, and with the largest numbers,
    so that loops run to their ends. Keras Tuner instead learns such hyperparameters from the trials that meet them, so
    its search depends on which trial ends first. A hyperparameter that appears only with certain values of several
    choices together may be missed; the worker that meets it logs a warning.

    A built-in space is built only once, because each of its builds names all hyperparameters, and its models can be
    loaded after they are saved. A build of `deep` takes more than a second of a core on TensorFlow.

    `image_shape` is None if the space brings its own data, which the chief does not load.

    A build that fails with other values than the defaults is a warning, because only the trials with these values fail.
    Raises SpaceError if the model cannot be built with the defaults, or has a condition that no build meets.
    """
    explorer = _Explorer(space, image_shape)
    explorer.declare()
    if is_built_in(space):
        explorer.build_once()
    else:
        explorer.meet_conditions()
        explorer.check_loadable()
        explorer.vary({}, explorer.hyperparameters.space)
    return _ended(explorer)


def explore_more(
    space: "keras_tuner.HyperModel", known: "keras_tuner.HyperParameters"
) -> "keras_tuner.HyperParameters":
    """Return the hyperparameters that Keras Tuner has found, and those that builds with other values name.

    These are in loops and branches without a conditional scope. Keras Tuner learns them from the trials that meet them.
    """
    explorer = _Explorer(space, None)
    explorer.hyperparameters = known.copy()
    explorer.vary({}, explorer.hyperparameters.space)
    return _ended(explorer)


def _ended(explorer: "_Explorer") -> "keras_tuner.HyperParameters":
    """Log what the exploration did not find, and return what it found."""
    import keras

    if explorer.exhausted:
        log.warning(
            "%d builds were not enough to find all hyperparameters of the space; any others are not searched", BUILDS
        )
    if explorer.failure:
        log.warning(
            "the space's build() fails with some values, and a trial with these values would fail, too: %s",
            explorer.failure,
        )
    keras.backend.clear_session()
    return explorer.hyperparameters


def activate(hp: "keras_tuner.HyperParameters") -> None:
    """Give active hyperparameters without a value their default, and remove the values of inactive ones.

    Keras Tuner's `ensure_active_values` draws values at random, so a restarted chief would explore differently.
    """
    active = set()
    for hyperparameter in hp.space:
        if hp.is_active(hyperparameter):
            hp.values.setdefault(hyperparameter.name, hyperparameter.default)
            active.add(hyperparameter.name)
    for name in hp.values.keys() - active:
        del hp.values[name]


class _Explorer:
    """A space and the hyperparameters found so far."""

    def __init__(self, space: "keras_tuner.HyperModel", image_shape: tuple[int, int, int] | None) -> None:
        import keras_tuner

        self.hyperparameters = keras_tuner.HyperParameters()
        self.failure = ""
        """The error of the first build that failed."""
        self.exhausted = False
        """Whether the limit on builds was reached."""
        self._space = space
        self._image_shape = image_shape
        self._met: list[list[Condition]] = []
        self._built: list[dict[str, Any]] = []
        """The values of all builds."""
        self._configuration = ""
        """What is saved of the model of the defaults."""
        self._unsavable: SpaceError | None = None

    def declare(self) -> None:
        """Take the hyperparameters that the space declares before any build."""
        hp = self.hyperparameters.copy()
        try:
            self._space.declare_hyperparameters(hp)
        except PreemptedError:
            raise
        except Exception as error:
            raise SpaceError(f"the space's declare_hyperparameters() fails ({cause_of(error)}). Fix it.") from error
        self.hyperparameters.merge(hp)

    def build_once(self) -> None:
        """Build with the defaults, of a space whose builds name all hyperparameters, without creating weights."""
        hp = self._with({})
        if error := build_error(self._space, hp, dry=True):
            raise _fault_of_defaults(hp, error) from error
        self._take(hp)

    def meet_conditions(self) -> None:
        """Build with the defaults, and once for each condition that remains unmet."""
        never: list[list[Condition]] = []
        values: dict[str, object] = {}
        while True:
            hp = self._with(values)
            error = build_error(self._space, hp, dry=False, use=(lambda _: None) if never else self._keep)
            if error is not None and not never:
                raise _fault_of_defaults(hp, error) from error
            if error is not None:  # only trials under this condition fail
                self.failure = self.failure or _describe(hp, error)
                self._met.append(never[0])
            self._take(hp)
            never = [scope for scope in never if scope not in self._met]
            never += [scope for scope in hp.inactive_scopes if scope not in self._met and scope not in never]
            if not never:
                return
            untried = {condition.name: condition.values[0] for condition in never[0]}
            if untried == values:
                raise SpaceError(
                    f"the space has a condition that no build meets: {untried}. Fix its hp.conditional_scope()."
                )
            values = untried

    def _keep(self, model: Any) -> None:
        """Keep what would be saved of the model of the defaults."""
        try:
            self._configuration = saved_configuration(model)
        except SpaceError as error:
            self._unsavable = error

    def check_loadable(self) -> None:
        """Raise SpaceError if the model of the defaults could not be loaded after it was saved."""
        error: Exception | None = self._unsavable
        if self._configuration:
            for dry in (True, False):  # a user's layers may need arrays that have values
                error = error_of(lambda: check_loadable(self._configuration), dry)
                if error is None:
                    return
        if error is not None:
            raise error

    def vary(self, base: dict[str, Any], varied: "Sequence[HyperParameter]") -> None:
        """Build with each value of the `varied` hyperparameters, several at a time, in addition to `base`."""
        choices = {hyperparameter.name: _values(hyperparameter) for hyperparameter in varied}
        for number in range(max(map(len, choices.values()), default=0)):
            chosen = {name: values[number % len(values)] for name, values in choices.items()}
            if len(chosen) > 1 and self._build(base | chosen, together=True):
                continue
            for name, value in chosen.items():
                self._build(base | {name: value})

    def _build(self, values: dict[str, Any], together: bool = False) -> bool:
        """Build with these values, and vary newly found hyperparameters. Return False if they fail `together`."""
        from keras_tuner.errors import FailedTrialError

        if values in self._built:
            return True
        if len(self._built) == BUILDS:
            self.exhausted = True
            return True
        self._built.append(values)
        hp = self._with(values)
        error = build_error(self._space, hp, dry=True)
        if error is not None and together:
            return False
        if error is not None and not isinstance(error, FailedTrialError):  # it may need a model that can be called
            error = build_error(self._space, hp, dry=False)
        if error is not None:
            self.failure = self.failure or _describe(hp, error)
        count = len(self.hyperparameters.space)
        self._take(hp)
        unmet = [scope for scope in hp.inactive_scopes if scope not in self._met]
        self._met += unmet
        for scope in unmet:
            self._build(values | {condition.name: condition.values[0] for condition in scope})
        self.vary(values, self.hyperparameters.space[count:])
        return True

    def _with(self, values: dict[str, Any]) -> "keras_tuner.HyperParameters":
        hp = self.hyperparameters.copy()
        hp.values.update(values)
        activate(hp)
        return hp

    def _take(self, hp: "keras_tuner.HyperParameters") -> None:
        """Add the hyperparameters named by a build, and then those named by `fit`."""
        _explore_fit(self._space, hp, self._image_shape)
        self.hyperparameters.merge(hp, overwrite=False)
        self._met += [scope for scope in hp.active_scopes if scope not in self._met]


def _values(hyperparameter: "HyperParameter") -> Sequence[Any]:
    """Return the values to build with, which are all values of a choice, or the largest value of a number."""
    import keras_tuner

    kinds = keras_tuner.engine.hyperparameters
    if isinstance(hyperparameter, kinds.Choice):
        return list(hyperparameter.values)
    if isinstance(hyperparameter, kinds.Boolean):
        return [False, True]
    if isinstance(hyperparameter, kinds.Int | kinds.Float):
        if hyperparameter.step is None:
            return [hyperparameter.max_value]
        ends = (hyperparameter.prob_to_value(probability) for probability in (0.0, math.nextafter(1, 0)))
        return [max(ends)]  # the last step may end before max_value
    return [hyperparameter.default]


def largest(hyperparameter: "HyperParameter") -> Any:
    """Return the largest number that the hyperparameter can be, or the default if its values are not numbers."""
    values = [value for value in _values(hyperparameter) if isinstance(value, int | float)]
    return max(values) if values and not isinstance(values[0], bool) else hyperparameter.default


def _fault_of_defaults(hp: "keras_tuner.HyperParameters", error: Exception) -> SpaceError:
    return SpaceError(f"the space's build() fails with {_describe(hp, error)}. Fix build().")


def _describe(hp: "keras_tuner.HyperParameters", error: Exception) -> str:
    return f"{hp.values} ({cause_of(error)})"


class UsedError(BaseException):
    """A user's `fit` has called its model. A BaseException, so that the user's `except Exception` does not catch it."""


class NoModel:
    """Placeholder for a model or unknown data. Calling it, or an attribute, ends the exploration of `fit`."""

    def __getattr__(self, name: str) -> "NoModel":
        """Return the placeholder itself."""
        return self

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        """Raise UsedError."""
        raise UsedError


def _explore_fit(
    space: "keras_tuner.HyperModel", hp: "keras_tuner.HyperParameters", image_shape: tuple[int, int, int] | None
) -> None:
    """Run a user's `fit` until it calls its model, because it has named its hyperparameters by then.

    Keras Tuner learns them from the first trial instead, so its search depends on which trial ends first.
    """
    import keras_tuner
    import numpy as np

    if type(space).fit is keras_tuner.HyperModel.fit:
        return
    x: Any = NoModel()
    y: Any = x
    if image_shape is not None:
        x, y = np.zeros((1, *image_shape), np.uint8), np.zeros(1, np.uint8)
    # whether a space's own data is arrays or a pipeline, which has no y, is unknown here
    for data in ((x, y),) if image_shape is not None else ((x, y), (x,)):
        try:
            space.fit(hp, NoModel(), *data, validation_data=data, epochs=1, initial_epoch=0, callbacks=[])
        except (UsedError, Exception) as error:  # trials will report real errors
            if isinstance(error, PreemptedError):
                raise
