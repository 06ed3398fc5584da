"""Copy what is published of a study out of its bucket: settings, trials, evaluation, and what it ran on.

usage: python tools/collect_results.py BUCKET STUDY --machine "one NVIDIA H100, 16 cores" [--into docs/results]
Then `make docs` writes docs/results.md again.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import yaml

from tuner import names
from tuner.bucket import Bucket, open_bucket
from tuner.config.loading import dump
from tuner.study.journal import read_records, read_study
from tuner.study.records import Leased, Opened
from tuner.study.trial import Trial

HERE = Path(__file__).parents[1] / "docs" / "results"
COPIED = (names.METRICS_JSON, names.PREDICTIONS_CSV)


def main() -> None:
    """Copy one study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bucket")
    parser.add_argument("study")
    parser.add_argument("--machine", required=True, help="what it ran on, as the page says it")
    parser.add_argument("--environment", nargs="*", default=[], help="VARIABLE=value before the command")
    parser.add_argument("--remark", help="a sentence for the page")
    parser.add_argument("--into", type=Path, default=HERE)
    arguments = parser.parse_args()
    bucket, folder = open_bucket(arguments.bucket), arguments.into / arguments.study
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        (folder / name).write_bytes(bucket.read(names.evaluation(arguments.study, name)))
    state = read_study(bucket, arguments.study)
    settings = dump(state.settings)
    settings["data"].pop("source")  # a path of that machine
    (folder / "study.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    began = _began(bucket, arguments.study)
    _write(folder / "trials.json", [_trial(trial, began) for trial in state.trials.values()])
    _write(folder / "run.json", {
        "machine": arguments.machine,
        "environment": arguments.environment,
        "workers": len({r.worker for r in read_records(bucket, arguments.study) if isinstance(r, Leased)}),
        "search_s": round(max(record.at for record in read_records(bucket, arguments.study)) - began, 1),
        "finished": state.finished is not None,
        **({"remark": arguments.remark} if arguments.remark else {}),
    })  # fmt: skip


def _began(bucket: Bucket, study: str) -> float:
    return next(record.at for record in read_records(bucket, study) if isinstance(record, Opened))


def _trial(trial: Trial, began: float) -> dict[str, Any]:
    return {
        "trial_id": trial.trial_id,
        "state": trial.state,
        "attempts": trial.attempts,
        "worker": trial.worker,
        "hyperparameters": trial.chosen,
        "score": trial.score,
        "best_epoch": trial.best_epoch,
        "reason": trial.reason,
        "epochs": [
            {"done_s": round(trial.reported[epoch] - began, 1), **{k: round(v, 5) for k, v in sorted(metrics.items())}}
            for epoch, metrics in sorted(trial.epochs.items())
        ],
    }


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
