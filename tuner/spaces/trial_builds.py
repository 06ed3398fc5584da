"""Builds models of a space only to see whether that works: completely, or without creating weights (dry)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tuner.errors import PreemptedError

if TYPE_CHECKING:
    import keras_tuner


def build_error(
    space: "keras_tuner.HyperModel",
    hp: "keras_tuner.HyperParameters",
    dry: bool,
    use: Callable[[Any], None] = lambda model: None,
) -> Exception | None:
    """Build a model, and return the exception that this raised, if any.

    Args:
        space: The space.
        hp: The hyperparameters, to which the build adds those that it names.
        dry: Whether the model needs no weights.
        use: Called with the model. In a dry build, its arrays have shapes and no values.
    """
    return error_of(lambda: use(space.build(hp)), dry)


def error_of(action: Callable[[], None], dry: bool) -> Exception | None:
    """Do what creates models, and return the exception that this raised, if any.

    If it is `dry`, no weights are created, because a space's largest model may not fit into memory.
    """
    import keras

    run = _DRY.get(keras.backend.backend(), _run) if dry else _run
    try:
        run(action)
    except PreemptedError:
        raise
    except Exception as error:
        return error
    finally:
        keras.backend.clear_session(free_memory=not dry)  # Python's garbage collection takes most of the time
    return None


def _run(action: Callable[[], None]) -> None:
    action()


def _run_in_graph(action: Callable[[], None]) -> None:
    import tensorflow

    with tensorflow.Graph().as_default():  # the graph is never run
        action()


def _run_traced(action: Callable[[], None]) -> None:
    import jax

    jax.eval_shape(action)


_DRY = {"tensorflow": _run_in_graph, "jax": _run_traced}
