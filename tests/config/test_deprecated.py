"""Old names of settings still work, and a warning names the new ones."""

import os
import re
from pathlib import Path

import pytest

import tuner
from tests.support.command_line import run_in_process
from tuner import names
from tuner.config import loading
from tuner.config.deprecated import RENAMED, Renamed, with_new_names
from tuner.config.loading import load_given
from tuner.config.settings import Policy
from tuner.errors import ConfigError

ASHA = "search.early_stopping.policy: asha is called stopping since version 0.2.0"
TRIALS = Renamed("search.trials", "0.2.0", new_key="search.max_trials")


@pytest.mark.parametrize("where", ["file", "environment", "--set"])
def test_an_old_value_works_wherever_it_is_set_and_one_warning_names_the_new_one(tmp_path: Path, where: str) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("search: {early_stopping: {policy: asha}}" if where == "file" else "name: night")
    environment = {f"{names.ENV_SETTING}SEARCH__EARLY_STOPPING__POLICY": "asha"} if where == "environment" else {}
    settings = ["search.early_stopping.policy=asha"] if where == "--set" else []
    loaded = load_given(file, settings, environment)
    assert loaded.study.search.early_stopping.policy is Policy.STOPPING
    assert [warning.partition(",")[0] for warning in loaded.warnings] == [ASHA]
    assert load_given(file, ["search.early_stopping.policy=stopping"], environment).warnings == ()


def test_what_an_earlier_version_recorded_is_no_reason_to_warn() -> None:
    recorded = load_given(settings=["search.early_stopping.policy=asha"]).study
    loaded = load_given(settings=["search.max_trials=3"], recorded=recorded)
    assert loaded.warnings == ()
    assert loaded.study.search.early_stopping == recorded.search.early_stopping


def test_an_old_key_works_and_both_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "with_new_names", lambda values: with_new_names(values, (TRIALS,)))
    loaded = load_given(settings=["search.trials=3"])
    assert loaded.study.search.max_trials == 3
    (warning,) = loaded.warnings
    assert warning.startswith("search.trials is called search.max_trials since version 0.2.0, and")
    with pytest.raises(ConfigError, match=r"unknown key search\.trials; did you mean search\.max_trials"):
        load_given(settings=["search.trials=3", "search.max_trials=4"])
    given = {"search": {"trials": 3}}
    with_new_names(given, (TRIALS,))
    assert given == {"search": {"trials": 3}}


def test_a_command_prints_the_warning_and_a_process_of_run_does_not(tmp_path: Path) -> None:
    line = ("chief", "--set", "search.early_stopping.policy=asha", "--bucket", str(tmp_path / "none"), "--check")
    own, child = run_in_process(*line), run_in_process(*line, environment={names.ENV_PARENT: str(os.getppid())})
    assert own.code == child.code == 0
    assert ASHA in own.out
    assert ASHA not in child.out + child.err


def test_an_old_name_is_accepted_in_the_next_minor_version_too() -> None:
    major, minor = map(int, re.findall(r"\d+", tuner.__version__)[:2])
    for change in RENAMED:
        since_major, since_minor = map(int, re.findall(r"\d+", change.since)[:2])
        assert (major, minor) < (since_major, since_minor + 2), f"{change.key}: the old name may be removed now"
