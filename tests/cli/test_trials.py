"""The formats of `trials`: table, JSON and CSV, per trial and per epoch."""

import csv
import io
import json
from collections.abc import Sequence
from math import isnan
from pathlib import Path

import pytest

from tests.compatibility.conftest import unpack
from tests.support.command_line import Finished, run_in_process
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.config.loading import load
from tuner.errors import ExitCode
from tuner.printable import FORMULA_STARTS
from tuner.study import journal
from tuner.study.records import Created, Ended, Leased, Opened, Outcome, Record, Reported, TrialState, Value


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack("finished", tmp_path_factory.mktemp("finished")) / "bucket"


def trials(bucket: Path | str, *options: str) -> Finished:
    return run_in_process("trials", "--bucket", bucket, *options)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_format_json_is_that_of_the_option_json(finished: Path) -> None:
    assert trials(finished, "--format", "json").out == trials(finished, "--json").out
    assert trials(finished, "--format", "table").out == trials(finished).out
    assert trials(finished, "--format", "json", "--json").code == ExitCode.DONE


def test_formats_that_contradict_each_other_are_refused(finished: Path) -> None:
    done = trials(finished, "--format", "csv", "--json")
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert done.err == "error: --json contradicts --format csv. Remove one of them.\n"
    assert trials(finished, "--format", "xml").code == ExitCode.USAGE


def test_csv_has_a_row_per_trial_with_the_values_of_the_json(finished: Path) -> None:
    listed = json.loads(trials(finished, "--json").out)
    table = rows(trials(finished, "--format", "csv").out)
    assert [row["trial_id"] for row in table] == [trial["trial_id"] for trial in listed]
    for row, trial in zip(table, listed, strict=True):
        assert float(row["score"]) == trial["score"]
        assert float(row["hyperparameters.learning_rate"]) == trial["hyperparameters"]["learning_rate"]
        assert (row["state"], row["repeats"], row["reason"]) == (trial["state"], "", trial["reason"])
    assert set(table[0]) == {*listed[0], "hyperparameters.learning_rate"} - {"hyperparameters"}


def test_csv_of_epochs_has_a_row_per_epoch_with_the_curves_of_the_json(finished: Path) -> None:
    listed = json.loads(trials(finished, "--json", "--epochs").out)
    assert [len(trial["curve"]) for trial in listed] == [trial["epochs"] for trial in listed]
    table = rows(trials(finished, "--format", "csv", "--epochs").out)
    curves = [(trial["trial_id"], epoch) for trial in listed for epoch in trial["curve"]]
    assert len(table) == len(curves)
    for row, (trial_id, epoch) in zip(table, curves, strict=True):
        assert (row["trial_id"], row["epoch"]) == (trial_id, str(epoch["epoch"]))
        assert {name: float(row[f"metrics.{name}"]) for name in epoch["metrics"]} == epoch["metrics"]
    assert table[0]["epoch"] == "1"


def test_the_table_of_epochs_has_a_line_per_epoch(finished: Path) -> None:
    heading, _, *lines = trials(finished, "--epochs").out.strip().splitlines()
    assert heading.split() == ["trial", "epoch", "val_loss", "loss", "accuracy", "val_accuracy"]
    assert len(lines) == sum(trial["epochs"] for trial in json.loads(trials(finished, "--json").out))
    assert lines[0].split()[:3] == ["00000", "1", "0.4697"]


def write(folder: Path, records: Sequence[Record]) -> Path:
    opened = Opened(at=0, term=1, writer="w", study=load(settings=["name=night"]), data="0" * 64, direction="max")
    content = journal.encode(1, "w", [opened, *records])
    LocalBucket(folder).create(names.journal_segment("night", 1), content)
    return folder


def ended(hyperparameters: dict[str, Value], reason: str, metrics: dict[str, float]) -> list[Record]:
    trial = names.TrialId("00000")
    return [
        Created(at=1, trial=trial, hyperparameters=hyperparameters, algorithm={}),
        Leased(at=2, trial=trial, attempt=1, worker="w0", incarnation="i"),
        Reported(at=3, trial=trial, attempt=1, epoch=0, metrics=metrics, checkpoint=None),
        Ended(at=4, trial=trial, attempt=1, state=TrialState.FAILED, outcome=Outcome.FAILED, reason=reason),
    ]


@pytest.mark.parametrize("start", FORMULA_STARTS)
def test_no_cell_is_a_formula_for_a_spreadsheet(start: str, tmp_path: Path) -> None:
    evil = f"{start}cmd|' /C calc'!A0"
    bucket = write(tmp_path, ended({"activation": evil, evil: -0.5}, f"{evil}\nsecond line", {evil: 0.5}))
    for options in ((), ("--epochs",)):
        table = list(csv.reader(io.StringIO(trials(bucket, "--format", "csv", *options).out)))
        assert [cell for row in table for cell in row if cell.startswith(FORMULA_STARTS) and cell != "-0.5"] == []
    [row] = rows(trials(bucket, "--format", "csv").out)
    masked = f"'{evil}".replace("\t", "\N{REPLACEMENT CHARACTER}").replace("\r", "\N{REPLACEMENT CHARACTER}")
    assert row["hyperparameters.activation"] == masked
    assert row["reason"].splitlines() == [masked, "second line"]
    assert "-0.5" in row.values()  # a number is no formula


def test_numbers_have_all_their_digits_and_what_is_missing_is_empty(tmp_path: Path) -> None:
    bucket = write(tmp_path, ended({"rate": 0.1 + 0.2, "bias": True, "units": 3}, "", {"val_accuracy": float("nan")}))
    [row] = rows(trials(bucket, "--format", "csv").out)
    assert (row["hyperparameters.rate"], row["hyperparameters.bias"]) == ("0.30000000000000004", "true")
    assert (row["hyperparameters.units"], row["score"]) == ("3", "")
    [epoch] = rows(trials(bucket, "--format", "csv", "--epochs").out)
    assert isnan(float(epoch["metrics.val_accuracy"]))


def test_a_study_without_trials_gives_a_header(tmp_path: Path) -> None:
    bucket = write(tmp_path, [])
    assert trials(bucket, "--format", "csv", "--epochs").out == "trial_id,epoch\n"
    assert trials(bucket, "--format", "csv").out.startswith("trial_id,state,attempts,score,")
    assert json.loads(trials(bucket, "--format", "json", "--epochs").out) == []
