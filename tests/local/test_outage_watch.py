"""`run` ends if no checkpoint has been saved for too long because bucket, disk or network failed."""

import pytest

from tuner.errors import EnvironmentFailure
from tuner.local.outage_watch import OutageWatch
from tuner.names import TrialId
from tuner.study.records import AttemptEnded, Outcome, Record, Reported

TRIAL = TrialId("00000")
REASON = "no checkpoint can be saved: 20 MiB are needed in b. Free some space there.\nmore"
SAVED = Reported(at=0, trial=TRIAL, attempt=1, epoch=0, metrics={}, checkpoint="m")
UNSAVED = Reported(at=0, trial=TRIAL, attempt=1, epoch=0, metrics={})
LOST = AttemptEnded(at=0, trial=TRIAL, attempt=1, outcome=Outcome.LOST, reason="silent")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def failed(failing_s: float) -> AttemptEnded:
    return AttemptEnded(at=0, trial=TRIAL, attempt=1, outcome=Outcome.LOST, failing_s=failing_s, reason=REASON)


def test_it_ends_with_the_reason_once_the_worker_has_tried_for_long_enough() -> None:
    watch = OutageWatch(300, Clock())
    watch.follow([failed(299)])
    with pytest.raises(EnvironmentFailure, match=r"Free some space there\. Then run the same command again") as raised:
        watch.follow([failed(300)])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("between", "ends"), [([], True), ([UNSAVED], True), ([LOST], True), ([SAVED], False)])
def test_failures_add_up_until_a_checkpoint_is_saved(between: list[Record], ends: bool) -> None:
    watch = OutageWatch(300, clock := Clock())
    watch.follow([failed(0)])
    clock.now = 301
    watch.follow(between)
    if ends:
        with pytest.raises(EnvironmentFailure):
            watch.follow([failed(0)])
    else:
        watch.follow([failed(0)])


def test_lost_workers_do_not_end_it() -> None:
    watch = OutageWatch(1, clock := Clock())
    for clock.now in range(100):
        watch.follow([LOST])
