"""The keys that names of hyperparameters and metrics get on MLflow."""

import pytest

from tuner.export.mlflow_names import MAX_CHARACTERS, mlflow_keys


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("learning_rate", "learning_rate"),
        ("conv 1/filters.x-2", "conv 1/filters.x-2"),
        ("f(x)=2", "f_x__2"),
        ("über", "über"),
        ("/etc/passwd", "etc/passwd"),
        ("a//b/../c/.", "a/b/c"),
        ("..", "_"),
        ("", "_"),
        ("x" * 300, "x" * MAX_CHARACTERS),
        ("y" * (MAX_CHARACTERS - 1) + "/z", "y" * (MAX_CHARACTERS - 1)),
    ],
)
def test_a_key_has_only_characters_that_mlflow_accepts(name: str, key: str) -> None:
    assert mlflow_keys([name]) == {name: key}


def test_equal_keys_are_numbered_and_keep_their_number() -> None:
    names = ["a(1)", "a[1]", "a_1_", "a_1__2"]
    keys = mlflow_keys(names)
    assert keys == {"a(1)": "a_1_", "a[1]": "a_1__2", "a_1_": "a_1__3", "a_1__2": "a_1__2_2"}
    assert mlflow_keys(names[:2]) == {name: keys[name] for name in names[:2]}
