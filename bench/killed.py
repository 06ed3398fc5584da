"""Cost of a killed worker, compared with bare Keras Tuner's distributed mode: a chief and two workers each.

One of the workers is killed (SIGKILL) when a certain epoch of its first trial has ended. It is either restarted at once
under its name, as Kubernetes would do, or never replaced. Both sides search the published space on the built-in sample
without early stopping. The benchmark counts the trials with a result, the wasted epochs (those of trials without a
result, and those trained again), and the seconds from the kill until all processes have ended. A side that has not
ended by the limit is waiting for the lost worker forever.

usage: bench/killed.py [--rounds 3] [--trials 4] [--epochs 12] [--killed-after 8] [--limit-s 150] [--json FILE]
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.competitors.bare import BareSearch  # noqa: E402
from bench.competitors.processes import CHIEF, WORKERS, Search, our_settings, started, wait  # noqa: E402
from tests.support.gcs_emulator import free_port  # noqa: E402
from tuner.bucket import open_bucket  # noqa: E402
from tuner.data.pack import pack  # noqa: E402
from tuner.study.journal import JournalReader, read_records  # noqa: E402
from tuner.study.records import Reported, TrialState  # noqa: E402

STUDY = "killed"
VICTIM = WORKERS[1]
START_S = 120.0
"""Maximum number of seconds until the epoch after which the worker is killed."""
Start = Callable[[str], contextlib.AbstractContextManager[subprocess.Popen[str]]]


@dataclass(frozen=True)
class Plan:
    """Parameters of one run of a side."""

    seed: int
    trials: int
    epochs: int
    killed_after: int
    limit_s: float
    replaced: bool

    @property
    def search(self) -> Search:
        """The search that both sides run."""
        return Search(self.seed, self.trials, self.epochs)


@dataclass(frozen=True)
class Outcome:
    """Result of one run of a side."""

    ended_s: float | None
    """Seconds from the kill to the end; None if the limit was reached."""
    completed: int
    epochs_lost: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--killed-after", type=int, default=8)
    parser.add_argument("--limit-s", type=float, default=150)
    parser.add_argument("--json", type=Path, default=ROOT / "bench" / "results" / "killed.json")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    settings = {key: value for key, value in vars(arguments).items() if key != "json"}
    rows: list[dict[str, Any]] = []
    for seed in range(1, arguments.rounds + 1):
        for replaced in (True, False):
            plan = Plan(seed, arguments.trials, arguments.epochs, arguments.killed_after, arguments.limit_s, replaced)
            for side in SIDES if seed % 2 else reversed(SIDES):
                with tempfile.TemporaryDirectory(prefix="cifake-tune-bench-") as folder:
                    outcome = SIDES[side](Path(folder), plan)
                rows.append(
                    {"seed": seed, "worker": "replaced" if replaced else "gone", "side": side, **asdict(outcome)}
                )
                print(json.dumps(rows[-1]), flush=True)
    result = {"cores": len(os.sched_getaffinity(0)), **settings, "cases": cases(rows, arguments.limit_s), "rows": rows}
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    show(result)


def ours(folder: Path, plan: Plan) -> Outcome:
    """Run `cifake-tune chief` and two `cifake-tune worker`."""
    bucket = open_bucket(str(folder / "bucket"))
    digest = pack(None, bucket).digest
    settings = our_settings(STUDY, plan.search, {"search.early_stopping.policy": "none"})
    environment = {
        "KERASTUNER_ORACLE_IP": "127.0.0.1",
        "KERASTUNER_ORACLE_PORT": str(free_port()),
        "CIFAKE_TUNE_CACHE": str(folder / "cache"),
        "CIFAKE_TUNE_DATA": digest,
    }

    def start(name: str) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
        role = ["chief", *settings] if name == CHIEF else ["worker"]
        command = [sys.executable, "-m", "cifake_tune", *role, "--bucket", str(folder / "bucket")]
        return started(command, folder, {**environment, "KERASTUNER_TUNER_ID": name})

    reader = JournalReader(bucket, STUDY)

    def reached() -> bool:
        reader.poll()
        trials = reader.state.trials.values()
        return any(trial.worker == VICTIM and plan.killed_after - 1 in trial.epochs for trial in trials)

    ended_s = run_and_kill(start, reached, plan)
    reader.poll()
    completed = sum(trial.state is TrialState.COMPLETED for trial in reader.state.trials.values())
    epochs = sum(isinstance(record, Reported) for record in read_records(bucket, STUDY))
    return Outcome(ended_s, completed, epochs - completed * plan.epochs)


def bare(folder: Path, plan: Plan) -> Outcome:
    """Run Keras Tuner's chief and workers, which all run the same script."""
    search = BareSearch(folder, None, plan.search)

    def reached() -> bool:
        return any(epoch.worker == VICTIM and epoch.epoch == plan.killed_after - 1 for epoch in search.ended())

    ended_s = run_and_kill(search.process, reached, plan)
    files = (folder / "project").glob("trial_*/trial.json")
    completed = sum(json.loads(file.read_text())["status"] == "COMPLETED" for file in files)
    return Outcome(ended_s, completed, len(search.ended()) - completed * plan.epochs)


SIDES: dict[str, Callable[[Path, Plan], Outcome]] = {"ours": ours, "bare": bare}


def run_and_kill(start: Start, reached: Callable[[], bool], plan: Plan) -> float | None:
    """Start chief and workers, kill one worker, and return the seconds until all other processes have ended."""
    with contextlib.ExitStack() as stack:
        processes = {name: stack.enter_context(start(name)) for name in (CHIEF, *WORKERS)}
        if wait(list(processes.values()), START_S, reached) is None or not reached():
            raise SystemExit("a side did not reach the epoch after which a worker is killed")
        os.killpg(processes[VICTIM].pid, signal.SIGKILL)
        began = time.monotonic()
        processes.pop(VICTIM).wait()
        if plan.replaced:
            processes[VICTIM] = stack.enter_context(start(VICTIM))
        ended = wait(list(processes.values()), plan.limit_s)
        return None if ended is None else round(time.monotonic() - began, 1)


def cases(rows: list[dict[str, Any]], limit_s: float) -> dict[str, dict[str, Any]]:
    """Return medians by whether the worker was replaced, and by side."""
    by_case: dict[str, dict[str, Any]] = {}
    for worker, side in dict.fromkeys((row["worker"], row["side"]) for row in rows):
        of = [row for row in rows if (row["worker"], row["side"]) == (worker, side)]
        by_case.setdefault(worker, {})[side] = medians(of, limit_s)
    return by_case


def medians(rows: list[dict[str, Any]], limit_s: float) -> dict[str, Any]:
    """Return the medians of one side in one case; a run that did not end counts as the limit."""
    return {
        "ended_s": statistics.median(limit_s if row["ended_s"] is None else row["ended_s"] for row in rows),
        "ended": sum(row["ended_s"] is not None for row in rows),
        "completed": statistics.median(row["completed"] for row in rows),
        "epochs_lost": statistics.median(row["epochs_lost"] for row in rows),
    }


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    print(f"\n{result['trials']} trials of {result['epochs']} epochs, a kill after epoch {result['killed_after']}")
    print(f"{'worker':10}{'side':6}{'rounds that ended':>20}{'s after the kill':>18}{'trials':>8}{'epochs lost':>13}")
    for worker, sides in result["cases"].items():
        for side, row in sides.items():
            print(f"{worker:10}{side:6}{row['ended']:13} of {result['rounds']:2}", end="")
            print(f"  {row['ended_s']:18.0f}{row['completed']:8g}{row['epochs_lost']:13g}")


if __name__ == "__main__":
    main()
