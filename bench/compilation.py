"""Time to the first training step with the compiled programs that earlier trials left on disk, and without; needs JAX.

A side is two processes. The first one trains two trials that differ only by their learning rate. The second one resumes
the first trial, as after a preemption. Timed are the second trial and the resumed one, from the start of the trial
(before its model is built) to the end of its first step. The sides take turns, each with a new folder.

usage: python bench/compilation.py [--pairs 5] [--json FILE]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SPACES = ("seed", "deep")
SIDES = {"kept": 500, "without": 0}
"""The limit of the programs on disk, in megabytes."""
CASES = ("second trial", "resumed trial")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5, help="number of turns of each side")
    parser.add_argument("--json", type=Path, default=ROOT / "bench" / "results" / "compilation.json")
    arguments = parser.parse_args()
    if (python := jax_python()) is None:
        sys.exit("bench/compilation.py needs JAX: run `make test` once, or set CIFAKE_TUNE_JAX_PYTHON")
    rows = [row for space in SPACES for row in measure(python, space, arguments.pairs)]
    result = {"pairs": arguments.pairs, "cores": len(os.sched_getaffinity(0)), "rows": rows}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    show(result)


def jax_python() -> str | None:
    """Return an interpreter with JAX."""
    if named := os.environ.get("CIFAKE_TUNE_JAX_PYTHON"):
        return named
    if find_spec("jax"):
        return sys.executable
    own = ROOT / ".venv-jax" / "bin" / "python"
    return str(own) if own.exists() else None


def measure(python: str, space: str, pairs: int) -> list[dict[str, Any]]:
    """Run the sides in turns; the first pair is a warm-up."""
    steps: dict[str, list[list[dict[str, Any]]]] = {side: [] for side in SIDES}
    for number in range(pairs + 1):
        for side in SIDES if number % 2 else reversed(SIDES):
            with tempfile.TemporaryDirectory(prefix="cifake-tune-bench-") as folder:
                trials = run(python, folder, SIDES[side], space)
                trials += run(python, folder, SIDES[side], space, "--resume")
            if number:
                steps[side].append(trials[1:])
                times = ", ".join(
                    f"{case} {step['seconds']:.2f} s" for case, step in zip(CASES, trials[1:], strict=True)
                )
                print(f"{space} {number} {side}: {times}", flush=True)
    return [row(space, case, [trials[at] for trials in steps["kept"]], [trials[at] for trials in steps["without"]])
            for at, case in enumerate(CASES)]  # fmt: skip


def run(python: str, folder: str, limit_mb: int, space: str, *more: str) -> list[dict[str, Any]]:
    """Return the trials of a process."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("JAX_COMPILATION_CACHE")}
    done = subprocess.run(
        [python, "-m", "bench.competitors.first_steps", folder, str(limit_mb), space, *more],
        env={**environment, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "jax"},
        stdout=subprocess.PIPE,
        stderr=None if "BENCH_DEBUG" in os.environ else subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def row(space: str, case: str, kept: list[dict[str, Any]], without: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians, and the ratios of the pairs."""
    steps = {"kept": kept, "without": without}
    seconds = {side: [step["seconds"] for step in of] for side, of in steps.items()}
    ratios = [other / ours for ours, other in zip(seconds["kept"], seconds["without"], strict=True)]
    return {
        "space": space,
        "case": case,
        "first_step_s": {side: statistics.median(of) for side, of in seconds.items()},
        "cpu_s": {side: statistics.median(step["cpu_s"] for step in of) for side, of in steps.items()},
        "programs_compiled": {"kept": kept[-1]["compiled"], "without": without[-1]["compiled"]},
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
        "seconds": seconds,
    }


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    print(f"\nseconds to the end of the first step, median of {result['pairs']} pairs, {result['cores']} cores")
    print(f"{'space':8}{'trial':16}{'kept':>8}{'without':>8}{'ratio':>8}{'processor, s':>20}{'programs compiled':>22}")
    for each in result["rows"]:
        step, cpu, compiled = each["first_step_s"], each["cpu_s"], each["programs_compiled"]
        print(
            f"{each['space']:8}{each['case']:16}{step['kept']:8.2f}{step['without']:8.2f}{each['ratio']['median']:8.2f}"
            f"{cpu['kept']:11.2f} :{cpu['without']:7.2f}{compiled['kept']:16} of {compiled['without']}"
        )


if __name__ == "__main__":
    main()
