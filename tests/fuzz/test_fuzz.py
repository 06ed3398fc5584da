"""Random inputs: study.yaml, --set, environment and arguments. `python -m tests.fuzz --seconds 3600` tries more."""

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.calls import call, check
from tests.fuzz.inputs import HOSTILE, Input, inputs

EXAMPLES = 700
"""Number of inputs, which take about 30 s."""


@pytest.mark.slow
@settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
@given(inputs())
def test_no_input_is_an_internal_error_or_takes_long_or_reaches_the_terminal_raw(given_input: Input) -> None:
    check(given_input)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_hostile_value_is_an_internal_error(text: str) -> None:
    check(
        Input(("chief", "--check", "--study", "study.yaml"), study=f"seed: {text}\n".encode("utf-8", "surrogatepass"))
    )
    if "\0" not in text:
        check(Input(("chief", "--check", "--set", f"space.values={text}")))


def test_a_valid_input_reaches_the_study() -> None:
    """The fuzz test would find nothing if no input were read."""
    done = call(Input(("run", "--study", "study.yaml", "--set", "seed=3"), study=b"search: {max_trials: 4}"))
    assert (done.code, done.err) == (0, "")
