"""Rolling back to release 0.1.0: its real program reads and continues the studies of this version, or refuses them.

A study without new settings goes from version to version and loses nothing. What 0.1.0 would misinterpret has format
2.0, which it refuses in one sentence (docs/formats.md).
"""

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.compatibility.conftest import STUDY, results, unpack
from tests.compatibility.earlier_release import EarlierRelease
from tests.compatibility.make_studies import KILLED_AT, SETTINGS
from tests.integration.in_process import do_here
from tests.integration.support import Done, Place, place
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.chief.journal_writer import JournalWriter
from tuner.config.formats import COMPATIBLE, FORMAT
from tuner.config.loading import load
from tuner.config.section import Settings
from tuner.config.settings import Study
from tuner.names import TrialId
from tuner.study import snapshots
from tuner.study.journal import read_study
from tuner.study.needed_format import DECISIVE
from tuner.study.records import (
    Action,
    BudgetEnded,
    Controlled,
    Created,
    Ended,
    Leased,
    Opened,
    Paused,
    Record,
    Reported,
    Retried,
    TrialState,
    Withdrawn,
)
from tuner.study.state import StudyState

pytestmark = pytest.mark.slow
REFUSED = "has format 2.0, and this program reads 1.0; use the version of cifake-tune that wrote it, or a newer one."
FIRST, SECOND, THIRD = map(TrialId, ("00000", "00001", "00002"))
PLAIN = (*SETTINGS, "search.algorithm=random")
LINE = ("run", "--data", "images", "--workers", "1")


def run_line(*settings: str) -> list[str]:
    return [*LINE, *(argument for setting in settings for argument in ("--set", setting))]


def place_with_images(folder: Any) -> Any:
    """Return a place with the images and the space of the finished study, and an empty bucket."""
    unpack("finished", folder)
    for file in sorted((folder / "bucket").rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    return place(folder, STUDY)


def trials_of(done: Done) -> list[Any]:
    assert done.code == 0, done.err
    trials: list[Any] = json.loads(done.out)
    return trials


# ---- a study without new settings -------------------------------------------------------------------
@dataclass(frozen=True)
class Alternated:
    """A study that this version began, 0.1.0 continued and this version finished; each of the first two was killed."""

    place: Place
    between: StudyState
    """After this version was killed during the second trial."""
    read_between: list[Any]
    """`trials --json` of 0.1.0 then."""
    status_between: Done
    after_rollback: StudyState
    """After 0.1.0 was killed during the third trial."""
    finished: Done
    read_at_last: list[Any]
    """`trials --json` of 0.1.0 when the search has finished."""
    reported: Done
    """`report` of 0.1.0 then."""


@pytest.fixture(scope="module")
def alternated(tmp_path_factory: pytest.TempPathFactory, earlier: EarlierRelease) -> Iterator[Alternated]:
    with place_with_images(tmp_path_factory.mktemp("alternated") / "place") as where:
        hold = where.folder / "hold"
        hold.touch()  # no trial begins its fifth epoch
        began = where.start(*run_line(*PLAIN), backend="jax")
        where.wait_for(lambda state: FIRST in state.trials and len(state.trials[FIRST].epochs) == 4, "4 epochs", began)
        paused = do_here(where, "pause")
        hold.unlink()
        assert paused.code == 0, paused.err
        where.wait_for(lambda state: state.trials[FIRST].state is TrialState.QUEUED, "the trial to return", began)
        assert do_here(where, "resume").code == 0
        where.wait_for(lambda state: state.trials[FIRST].ended, "the first trial", began)
        hold.touch()
        where.wait_for(
            lambda state: SECOND in state.trials and KILLED_AT in state.trials[SECOND].epochs, "the second trial", began
        )
        where.kill(signal.SIGKILL)
        began.wait()
        between = where.state()
        read_between = trials_of(earlier.do(where, "trials", "--json", "--study", STUDY))
        status_between = earlier.do(where, "status", "--study", STUDY)
        hold.unlink()
        rolled_back = earlier.start(where, *run_line(*PLAIN))
        where.wait_for(lambda state: state.trials[SECOND].ended, "the second trial", rolled_back)
        where.wait_for(lambda state: THIRD in state.trials and state.trials[THIRD].epochs, "the third", rolled_back)
        where.kill(signal.SIGKILL)
        rolled_back.wait()
        after_rollback = where.state()
        finished = where.do(*run_line(*PLAIN), backend="jax")
        read_at_last = trials_of(earlier.do(where, "trials", "--json", "--study", STUDY))
        reported = earlier.do(where, "report", "--study", STUDY, "--out", "old.html")
        yield Alternated(where, between, read_between, status_between, after_rollback, finished, read_at_last, reported)


def test_the_earlier_release_reads_a_study_that_was_paused_and_resumed(alternated: Alternated) -> None:
    assert alternated.between.needed_format == COMPATIBLE
    for trial in alternated.read_between:
        known = alternated.between.trials[TrialId(trial["trial_id"])]
        assert (trial["state"], trial["attempts"], trial["hyperparameters"]) == (
            known.state,
            known.attempts,
            known.hyperparameters,
        )
    assert [trial["state"] for trial in alternated.read_between] == ["COMPLETED", "RUNNING"]
    assert [trial["epochs"] for trial in alternated.read_between] == [8, KILLED_AT + 1]
    assert "state unfinished" in alternated.status_between.output or "running 1" in alternated.status_between.output


def test_the_earlier_release_continues_the_trial_after_its_last_saved_epoch(alternated: Alternated) -> None:
    reports = [record for record in alternated.place.records() if isinstance(record, Reported)]
    second = [(record.attempt, record.epoch) for record in reports if record.trial == SECOND]
    assert second == [*((1, epoch) for epoch in range(4)), *((2, epoch) for epoch in range(4, 8))]
    assert alternated.after_rollback.term == 2
    assert {record.format for record in alternated.place.records()} == {"1.0", COMPATIBLE}


def test_what_two_versions_searched_in_turn_is_what_one_alone_does_bit_for_bit(
    alternated: Alternated, finished: LocalBucket
) -> None:
    assert alternated.finished.code == 0, alternated.finished.err
    expected, actual = read_study(finished, STUDY), alternated.place.state()
    assert results(actual) == results(expected)
    assert [trial.trial_id for trial in actual.best(2)] == [trial.trial_id for trial in expected.best(2)]


def test_the_earlier_release_reads_and_reports_the_finished_study(alternated: Alternated) -> None:
    assert [(trial["trial_id"], trial["state"], trial["epochs"]) for trial in alternated.read_at_last] == [
        ("00000", "COMPLETED", 8),
        ("00001", "COMPLETED", 8),
        ("00002", "STOPPED", 2),
        ("00003", "STOPPED", 2),
    ]
    assert alternated.reported.code == 0, alternated.reported.err
    assert SECOND in (alternated.place.folder / "old.html").read_text()


def test_the_models_of_either_version_are_those_of_the_other(alternated: Alternated, earlier: EarlierRelease) -> None:
    """0.1.0 evaluated nothing here: it predicts with what this version evaluated."""
    image = str(alternated.place.folder / "images" / "test" / "REAL" / "00.png")
    arguments = ("predict", image, "--json", "--study", STUDY)
    old = json.loads(earlier.do(alternated.place, *arguments).out)
    new = json.loads(do_here(alternated.place, *arguments).out)
    assert old[0]["prediction"] == new[0]["prediction"]
    assert old[0]["probability"] == pytest.approx(new[0]["probability"])


# ---- what 0.1.0 must refuse -------------------------------------------------------------------------
READERS = (("status",), ("trials",), ("report", "--out", "old.html"), ("logs", "00000"))


def assert_refused(earlier: EarlierRelease, where: Place) -> None:
    """Assert that no command of 0.1.0 interprets or changes the study, and that each says which version to use."""
    objects = sorted(where.bucket.list(""))
    commands = [(*command, "--study", where.study) for command in READERS]
    for command in (*commands, tuple(run_line(*PLAIN))):
        done = earlier.do(where, *command)
        assert done.code == 3, (command, done.out, done.err)
        assert REFUSED in " ".join(done.err.split()), command
        assert "Traceback" not in done.err
    assert [name for name in sorted(where.bucket.list("")) if name not in objects and "/journal/" in name] == []


def began_with(where: Place, *settings: str) -> None:
    """Search until the first trial has 4 epochs, after which it is held."""
    command = where.start(*run_line(*settings), backend="jax")
    where.wait_for(
        lambda state: FIRST in state.trials and len(state.trials[FIRST].epochs) == 4, "the first epochs", command
    )


def killed_while_a_trial_is_paused(where: Place) -> None:
    command = where.start(*run_line(*PLAIN, "search.early_stopping.policy=promotion"), backend="jax")
    paused = lambda state: any(trial.state is TrialState.PAUSED for trial in state.trials.values())  # noqa: E731
    where.wait_for(paused, "a paused trial", command)


def ended_by_its_target(where: Place) -> None:
    command = where.start(*run_line(*PLAIN, "search.target=10"), backend="jax")
    where.wait_for(lambda state: state.finished, "the end of the search", command)


def stopped_by_a_user(where: Place) -> None:
    (where.folder / "hold").touch()
    began_with(where, *PLAIN)
    assert do_here(where, "stop").code == 0


def extended_by_a_user(where: Place) -> None:
    (where.folder / "hold").touch()
    began_with(where, *PLAIN)
    assert do_here(where, "enqueue", "--set", "learning_rate=1.0").code == 0


def begun_with_the_default_algorithm(where: Place) -> None:
    began_with(where, *SETTINGS)


@pytest.mark.parametrize(
    "make",
    [
        killed_while_a_trial_is_paused,
        ended_by_its_target,
        stopped_by_a_user,
        extended_by_a_user,
        begun_with_the_default_algorithm,
    ],
)
def test_the_earlier_release_refuses_a_study_that_it_would_misinterpret(
    make: Callable[[Place], None], earlier: EarlierRelease, tmp_path: Path
) -> None:
    with place_with_images(tmp_path / "place") as where:
        make(where)
        where.kill(signal.SIGKILL)
        assert where.state().needed_format == FORMAT
        assert_refused(earlier, where)
        assert trials_of(do_here(where, "trials", "--json"))


OPENED = Opened(at=1, term=1, writer="w", study=load(settings=list(PLAIN)), data="d", direction="min")
SUGGESTED = Created(at=1, trial=FIRST, hyperparameters={"learning_rate": 0.5}, algorithm={"seed_state": 7})
LEASED = Leased(at=1, trial=FIRST, attempt=1, worker="w", incarnation="i")
EPOCH = Reported(at=1, trial=FIRST, attempt=1, epoch=0, metrics={"val_loss": 0.5})
ENDED = Ended(at=1, trial=FIRST, attempt=1, state=TrialState.FAILED)


@pytest.mark.parametrize(
    "record",
    [
        Paused(at=2, trial=FIRST, attempt=1),
        Withdrawn(at=2, trial=FIRST, score=0.5, best_epoch=0, reason="", budget=""),
        BudgetEnded(at=2, budget="search.target", limit=1, reason=""),
        Retried(at=2, trials=(FIRST,)),
        Created(at=2, trial=SECOND, hyperparameters={}, algorithm={}, repeats=FIRST, format=FORMAT),
        Controlled(at=2, request="r", action=Action.STOP, format=FORMAT),
        EPOCH.model_copy(update={"epoch": 1, "returned": True, "format": FORMAT}),
    ],
    ids=lambda record: record.kind,
)
@pytest.mark.parametrize("from_snapshot", [False, True])
def test_each_kind_of_record_that_must_not_be_skipped_is_refused_by_itself(
    record: Record, from_snapshot: bool, earlier: EarlierRelease, tmp_path: Path
) -> None:
    with place(tmp_path / "place", STUDY) as where:
        records = [OPENED, SUGGESTED, LEASED, EPOCH, *([ENDED] if isinstance(record, Retried) else []), record]
        JournalWriter(where.bucket, STUDY, "w", 1).write(records)
        if from_snapshot:
            where.bucket.write(names.snapshot(STUDY, 1), snapshots.encode(1, where.state()))
        done = earlier.do(where, "trials", "--study", STUDY)
        assert done.code == 3, done.out
        assert REFUSED in " ".join(done.err.split())
        assert ("snapshots/" in done.err) == from_snapshot


def test_requests_that_need_not_be_known_are_skipped_and_a_snapshot_is_read(
    earlier: EarlierRelease, tmp_path: Path
) -> None:
    requests: list[Record] = [
        Controlled(at=2, request="1", action=Action.PAUSE),
        Controlled(at=2, request="2", action=Action.STOP, trials=(FIRST,)),
        Controlled(at=2, request="3", action=Action.ENQUEUE, refusal="the search has finished."),
    ]
    with place(tmp_path / "place", STUDY) as where:
        JournalWriter(where.bucket, STUDY, "w", 1).write([OPENED, SUGGESTED, LEASED, EPOCH, *requests])
        for _ in range(2):
            (trial,) = trials_of(earlier.do(where, "trials", "--json", "--study", STUDY))
            assert (trial["trial_id"], trial["state"], trial["epochs"]) == (FIRST, "RUNNING", 1)
            where.bucket.write(names.snapshot(STUDY, 1), snapshots.encode(1, where.state()))
            where.bucket.write(names.journal_segment(STUDY, 1), b"what only a reader without a snapshot reads")


# ---- which settings 0.1.0 may ignore ----------------------------------------------------------------
IGNORED = {
    # what data is packed, which the digest of the study's data set fixes
    *("data.resize", "data.convert", "data.test", "data.test_seed", "data.labels", "data.columns.image"),
    *("data.columns.label", "data.columns.split"),
    # without effect if the settings are those that 0.1.0 does not refuse
    *("search.finalists", "search.confirm.best", "search.grace_minutes", "search.initial_points"),
    *("space.arguments", "space.tuner"),
    # operation
    *("cost.currency", "cost.per_worker_hour", "notify.webhook", "tracking.mlflow", "retries.environment_s"),
    *("training.compilation_cache_mb", "training.devices"),
}
LEAVES = """
from tuner.config import settings
def leaves(section, prefix=""):
    for name, field in section.model_fields.items():
        kind, key = field.annotation, prefix + (field.alias or name)
        if isinstance(kind, type) and issubclass(kind, settings.Settings):
            yield from leaves(kind, key + ".")
        else:
            yield key
print(*leaves(settings.Study))
"""


def leaves(section: type[Settings], prefix: str = "") -> Iterator[str]:
    """Yield the keys of all settings."""
    for name, field in section.model_fields.items():
        kind, key = field.annotation, f"{prefix}{field.alias or name}"
        if isinstance(kind, type) and issubclass(kind, Settings):
            yield from leaves(kind, f"{key}.")
        else:
            yield key


def test_each_setting_that_the_earlier_release_does_not_know_is_decisive_or_may_be_ignored(
    earlier: EarlierRelease,
) -> None:
    known = set(earlier.evaluate(LEAVES).split())
    new = set(leaves(Study)) - known
    assert new == {*DECISIVE, *IGNORED}
    assert known <= set(leaves(Study)), "a setting was removed"
