"""A study whose script has been edited continues with a note, but not with other hyperparameters."""

from io import StringIO
from pathlib import Path

import keras_tuner
import pytest
from rich.console import Console

from tests.scripts.scripts import HEAD, RANDOM, SEARCH, space
from tuner import names
from tuner.address import Address
from tuner.bucket.local import LocalBucket
from tuner.chief import run
from tuner.chief.context import ChiefContext
from tuner.chief.monitor import ChiefMonitor
from tuner.config.loading import parse
from tuner.errors import NoResultError, ScriptError
from tuner.local import run as local
from tuner.local.crew import Crew
from tuner.local.gpu_inventory import GpuInventory
from tuner.monitoring.catalogue import Role
from tuner.monitoring.endpoint import Monitor
from tuner.scripts.session import ScriptSearch, run_to_search
from tuner.scripts.settings import study_of
from tuner.study.journal import encode, read_study
from tuner.study.records import Created
from tuner.study.script_change import change_of_script, script_digest
from tuner.study.state import StudyState

BODY = RANDOM + SEARCH


def chief(folder: Path, head: str = HEAD) -> StudyState:
    """Run a chief of a script up to its search, and return the state of the study."""
    bucket = LocalBucket(folder / "bucket")

    def take_over(search: ScriptSearch) -> None:
        given = {"name": "tune", "space": {"script": "tune.py", "code": str(folder)}}
        study = study_of(search, given).study
        monitor = ChiefMonitor(bucket, study.name, Monitor(Role.CHIEF))
        address = Address("127.0.0.1", 0)
        run._run(ChiefContext(bucket, study, names.OWN_DATA, address, None, None, monitor, script=search))

    run_to_search(space(folder, BODY, head), take_over)
    return read_study(bucket, "tune")


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Begin a study with one trial."""
    monkeypatch.setattr(run, "_search", lambda *_: None)
    assert chief(tmp_path).script_digest == script_digest(space(tmp_path, BODY))
    begin_trial(tmp_path)
    return tmp_path


def begin_trial(folder: Path) -> None:
    created = Created(at=1, trial=names.TrialId("0000"), hyperparameters={"units": 2}, algorithm={})
    LocalBucket(folder / "bucket").create(names.journal_segment("tune", 2), encode(2, "w", [created]))


def test_a_study_continues_with_the_same_script_silently(begun: Path) -> None:
    assert change_of_script(chief(begun), space(begun, BODY)) == ""


def test_an_edited_script_is_noted(begun: Path, caplog: pytest.LogCaptureFixture) -> None:
    note = "tune.py has changed since the study began; its earlier trials are kept"
    for term in (2, 3):
        caplog.clear()
        assert chief(begun, f"{HEAD}# edited\n").term == term
        assert note in caplog.text


@pytest.mark.parametrize(
    ("names_now", "change"),
    [
        ('"size"', "it no longer names units, and names the new size"),
        ('"units", 1, 3) + hp.Int("more"', "it names the new more"),
    ],
)
def test_other_hyperparameters_are_refused(names_now: str, change: str, begun: Path) -> None:
    with pytest.raises(ScriptError, match=change):
        chief(begun, HEAD.replace('"units"', names_now))


def test_hyperparameters_that_no_trial_need_have_are_accepted(begun: Path) -> None:
    more = 'hp.Fixed("constant", 1)\n    if hp.Int("units", 1, 3) == 3:\n        pass\n    model ='
    assert chief(begun, HEAD.replace("model =", more, 1)).term == 2


def test_a_script_that_overwrites_is_noted_only_if_there_are_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    head = f"{HEAD}from functools import partial\n"
    head += "keras_tuner.RandomSearch = partial(keras_tuner.RandomSearch, overwrite=True)\n"
    monkeypatch.setattr(run, "_search", lambda *_: None)
    monkeypatch.setattr(keras_tuner, "RandomSearch", keras_tuner.RandomSearch)
    chief(tmp_path, head)
    assert run.OVERWRITES not in caplog.text
    begin_trial(tmp_path)
    chief(tmp_path, head)
    assert run.OVERWRITES in caplog.text


def test_records_of_earlier_versions_are_not_compared(tmp_path: Path) -> None:
    assert change_of_script(StudyState(), space(tmp_path, BODY)) == ""


def test_run_prints_the_note_also_if_the_search_has_finished(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def finished(*_: object) -> None:
        raise NoResultError("finished")

    monkeypatch.setattr(local, "_search", finished)
    study = parse({"name": "tune", "space": {"script": "tune.py", "code": str(begun)}}, "here")
    (begun / "tune.py").write_text(f"{HEAD}# edited\n{BODY}")
    crew, console = Crew(1, GpuInventory(), 1), Console(file=(printed := StringIO()), width=300)
    with pytest.raises(NoResultError):
        local.run_study(study, {}, LocalBucket(begun / "bucket"), crew, begun / "cache", None, console)
    assert "Note: tune.py has changed since the study began" in printed.getvalue()
