"""Small scripts for the tests, which reach search() within milliseconds."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tuner.config.space_settings import Space
from tuner.scripts.session import ScriptSearch, run_to_search

HEAD = """
import keras, keras_tuner, numpy as np
x, y = np.zeros((8, 2), "float32"), np.zeros(8, "float32")

def build(hp):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(hp.Int("units", 1, 3)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return model
"""
RANDOM = "tuner = keras_tuner.RandomSearch(build, 'val_loss', max_trials=7, seed=5)\n"
SEARCH = "tuner.search(x, y, validation_data=(x, y), epochs=2, verbose=0)\n"


def space(folder: Path, body: str, head: str = HEAD, **settings: Any) -> Space:
    """Write a script, and return the settings that name it."""
    (folder / "tune.py").write_text(head + body)
    return Space(script="tune.py", code=str(folder), **settings)


def searched(folder: Path, body: str, use: Callable[[ScriptSearch], Any] = lambda search: search, **more: Any) -> Any:
    """Run a script up to its search, and return what `use` returned there."""
    results: list[Any] = []
    run_to_search(space(folder, body, **more), lambda search: results.append(use(search)))
    return results[0]


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings with keys such as search.max_trials."""
    return {
        key: value
        for name, inner in values.items()
        for key, value in (
            flat(inner, f"{prefix}{name}.") if isinstance(inner, Mapping) else {f"{prefix}{name}": inner}
        ).items()
    }
