"""Try random inputs for a while: `python -m tests.fuzz --seconds 3600`. It prints the number of inputs.

Each round has a seed of its own. `--seed` repeats the rounds from a seed on.
"""

import argparse
import time
from collections.abc import Callable

from hypothesis import HealthCheck, given, seed, settings

from tests.fuzz.calls import check
from tests.fuzz.inputs import Input, inputs

ROUND = 500


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    began, tried, number = time.monotonic(), 0, arguments.seed

    def one(tried_input: Input) -> None:
        nonlocal tried
        tried += 1
        check(tried_input)

    while time.monotonic() - began < arguments.seconds:
        try:
            rounds(number)(one)()
        except BaseException:
            print(f"seed {number} finds an error after {tried:,} inputs")  # noqa: T201
            raise
        number += 1
    seconds = time.monotonic() - began
    print(f"{tried:,} inputs in {seconds:,.0f} s, seeds {arguments.seed} to {number - 1}: no error")  # noqa: T201


def rounds(number: int) -> Callable[[Callable[[Input], None]], Callable[[], None]]:
    """Return a decorator that calls a function with the inputs of one round."""
    limits = settings(max_examples=ROUND, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    return lambda function: seed(number)(limits(given(inputs())(function)))


main()
