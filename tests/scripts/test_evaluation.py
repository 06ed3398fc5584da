"""The evaluator runs a script past its search."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests.scripts.scripts import RANDOM, SEARCH, space
from tuner.errors import ScriptError
from tuner.evaluator import script_evaluation
from tuner.evaluator.script_evaluation import ScriptSubject, evaluate_script


def test_nothing_that_the_script_prints_is_on_standard_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("serve_results", "_save_best"):
        monkeypatch.setattr(script_evaluation, name, lambda *_: None)
    study = SimpleNamespace(space=space(tmp_path, f"print('before')\n{RANDOM}{SEARCH}print('after')\n1 / 0\n"))
    best = SimpleNamespace(checkpoint="c", best_epoch=0, score=0.0)
    bucket, state = SimpleNamespace(download=lambda *_: None), SimpleNamespace(settings=study)
    subject = SimpleNamespace(bucket=bucket, state=state, best=best, evaluations=1)
    with pytest.raises(ScriptError, match=r"fails after search\(\)"):
        evaluate_script(cast("ScriptSubject", subject), tmp_path, 0.0)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert [line for line in printed.err.splitlines() if line in ("before", "after")] == ["before", "after"]
