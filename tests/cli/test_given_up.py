"""`status` says that a search gave up, and how to continue it."""

from pathlib import Path

import pytest

from tests.support.command_line import run_in_process
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.cli.status import _print_headline
from tuner.config.loading import load
from tuner.study import journal
from tuner.study.journal import read_study
from tuner.study.records import Created, Finished, Leased, Opened
from tuner.study.views import view_study

TRIAL = names.TrialId("00000")


@pytest.mark.parametrize("gave_up", [True, False])
def test_a_search_that_gave_up_is_told_from_one_that_has_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], gave_up: bool
) -> None:
    bucket, study = LocalBucket(tmp_path / "bucket"), load(settings=["name=night"])
    opened = Opened(at=0, term=1, writer="w", study=study, data="0" * 64, direction="max")
    created = Created(at=0, trial=TRIAL, hyperparameters={}, algorithm={})
    leased = Leased(at=0, trial=TRIAL, attempt=1, worker="w0", incarnation="i")
    ended = Finished(at=1, reason="3 consecutive trials failed", failed=gave_up)
    bucket.create(names.journal_segment("night", 1), journal.encode(1, "w", [opened, created, leased, ended]))
    view = view_study(read_study(bucket, "night"))
    assert view.gave_up is gave_up
    _print_headline(view)
    output = " ".join(capsys.readouterr().out.split())
    assert ("the search gave up: 3 consecutive trials failed" in output) is gave_up
    assert ("run helm upgrade with what has changed" in output) is gave_up
    done = run_in_process("status", "--bucket", bucket.url)
    assert ("gave up; fix the cause, and give the same command again" in done.out) is gave_up
    assert "1 running" not in output + done.out  # the trial that ran when the search ended
    assert "1 interrupted" in output
    assert "1 interrupted" in done.out
