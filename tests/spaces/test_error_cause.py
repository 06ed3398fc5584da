"""The line that explains an error of a user's model: on both backends, in graphs and layers, with its place."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from tuner.spaces.error_cause import LABELS, advice_on, cause_of, explanation, trace_of

BOLD = "\x1b["


class Picky(keras.layers.Layer):
    """Refuses to train."""

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            raise ValueError("the pixels must be scaled by mean 0.4914 first")
        return x


class Wrapping(keras.layers.Layer):
    """A layer of layers."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Picky()

    def call(self, x: Any, training: bool = False) -> Any:
        return self.inner(x, training=training)


def raised(action: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011  (whatever it is)
        action()
    assert isinstance(caught.value, Exception)
    return caught.value


def fitted(*layers: keras.layers.Layer, loss: str = "binary_crossentropy", labels: Any = None) -> Exception:
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile("sgd", loss)
    return raised(lambda: model.fit(np.zeros((4, 4)), np.zeros(4) if labels is None else labels, verbose=0))


@pytest.mark.parametrize("layer", [Picky, Wrapping])
def test_an_error_in_a_layer_is_said_in_its_own_words_with_its_place(layer: type[keras.layers.Layer]) -> None:
    cause = cause_of(fitted(layer(), keras.layers.Dense(1)))
    assert cause.startswith("ValueError: the pixels must be scaled by mean 0.4914 first [test_error_cause.py:")
    assert cause.endswith(", Picky.call()]")
    assert "\n" not in cause


def test_an_input_of_the_wrong_shape_is_named() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    assert "expected" in explanation(raised(lambda: model(np.zeros((2, 5)))))


def test_one_hot_losses_are_answered_with_the_loss_for_integers() -> None:
    error = fitted(keras.layers.Dense(2, activation="softmax"), loss="categorical_crossentropy")
    assert "sparse_categorical_crossentropy" in cause_of(error)
    assert advice_on(error) == LABELS


@pytest.mark.parametrize(
    ("shapes", "is_of_labels"),
    [
        ("(None, 1) and (None, 2)", True),
        ("(None,) and (128, 10)", True),
        ("(None,1) and (None,2)", True),
        ("(None,16,16,8) and (None,15,15,8)", False),
        ("(None, 16, 8) and (None, 15, 8)", False),
        ("(3, 3, 3, 8) and (8,)", False),
    ],
)
def test_only_shapes_of_labels_and_outputs_are_those_of_wrong_labels(shapes: str, is_of_labels: bool) -> None:
    assert advice_on(ValueError(f"Shapes {shapes} are incompatible")) == (LABELS if is_of_labels else "")


def test_a_missing_package_is_named_with_how_to_install_it() -> None:
    cause = cause_of(raised(lambda: __import__("sklearn_missing.metrics")))
    assert cause.startswith("ModuleNotFoundError: No module named 'sklearn_missing'")
    assert "pip install sklearn_missing" in cause


def test_nothing_of_the_terminal_is_left_in_a_traceback() -> None:
    error = fitted(Picky(), keras.layers.Dense(1))
    assert BOLD in str(error)
    assert BOLD not in trace_of(error)
    assert "scaled by mean" in trace_of(error)


GRAPH = """Graph execution error:

Detected at node sequential/embedding/GatherV2 defined at (most recent call last):
  File "/usr/lib/python3.11/threading.py", line 1002, in _bootstrap

  File "/venv/lib/python3.11/site-packages/keras/src/layers/core/embedding.py", line 118, in call
    outputs = ops.take(self.embeddings, inputs, axis=0)

indices[0,0] = 300 is not in [0, 256)
\t [[{{node sequential/embedding/GatherV2}}]] [Op:__inference_multi_step_on_iterator_1127]"""
ROOTS = """Graph execution error:

Detected at node X defined at (most recent call last):
<stack traces unavailable>
2 root error(s) found.
  (0) INVALID_ARGUMENT:  Incompatible shapes: [128,2] vs. [128,3]
\t [[{{node X}}]]
\t [[Y/_3]]
  (1) INVALID_ARGUMENT:  Incompatible shapes: [128,2] vs. [128,3]
\t [[{{node X}}]]
0 successful operations.
0 derived errors ignored. [Op:__inference_1]"""
AUTOGRAPH = """in user code:

    File "my_space.py", line 9, in step  *
        loss = wrong(x)
    File "my_space.py", line 3, in wrong  *
        raise TypeError("x must be scaled")

    TypeError: x must be scaled
"""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (GRAPH, "indices[0,0] = 300 is not in [0, 256)"),
        (ROOTS, "Incompatible shapes: [128,2] vs. [128,3]"),
        (AUTOGRAPH, "TypeError: x must be scaled"),
        ("", ""),
        ("\n\n  first\nsecond", "first"),
        ("The shapes are:\n(2, 3)\nmore", "The shapes are: (2, 3)"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("a" * 1000, f"{'a' * 400} …"),
    ],
)
def test_the_line_that_explains_is_found(text: str, line: str) -> None:
    assert explanation(ValueError(text)) == line


def test_an_error_of_a_running_graph_is_said_in_its_own_words() -> None:
    if keras.backend.backend() != "tensorflow":
        pytest.skip("JAX has no graph errors")
    import tensorflow

    @tensorflow.function
    def failing(x: Any) -> Any:
        tensorflow.debugging.assert_less(x, 1.0, message="pixels must be below 1")
        return x

    error = raised(lambda: failing(tensorflow.constant([2.0])))
    assert "pixels must be below 1" in explanation(error)
