"""SIGTERM ends a worker within 20 s with exit code 143 and its trial handed back, whatever it is in the midst of."""

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.integration.one_trial import Night, night
from tests.integration.support import Command, Place
from tests.support.fault_proxy import Fault, FaultProxy, Faults, running_proxy
from tests.support.gcs_emulator import Emulator
from tuner import names
from tuner.bucket import Bucket, open_bucket
from tuner.study.records import Outcome

END_S = 20.0


@pytest.fixture
def local(place: Place, two_colours: str) -> Iterator[Night]:
    with night(place, place.bucket, two_colours) as new_night:
        yield new_night


def end(worker: Command, number: int = signal.SIGTERM) -> float:
    """Send a signal, and return how long the worker took to exit with 143."""
    began = time.monotonic()
    worker.process.send_signal(number)
    done = worker.wait(60)
    took_s = time.monotonic() - began
    assert done.code == 143, done.out + done.err
    assert took_s < END_S
    assert "Traceback" not in done.out + done.err
    return took_s


def test_in_training_it_hands_back_at_the_end_of_a_batch_on_sigint(local: Night) -> None:
    local.gate("slow").touch()
    worker = local.work()
    local.until(lambda: local.epochs() == 1, "an epoch")
    assert end(worker, signal.SIGINT) < 10
    assert local.endings() == [Outcome.PREEMPTED]


def test_idle_it_ends_at_once_and_in_training_it_hands_back_at_the_end_of_a_batch(local: Night) -> None:
    local.gate("hold-0").touch()
    local.gate("slow").touch()
    busy = local.work()
    local.until(lambda: local.trial() is not None, "the trial")
    idle = local.work(**{names.ENV_TUNER_ID: "worker-1"})
    local.until(lambda: "worker-1" in local.chief.service.workers.entries, "the second worker")
    local.until(lambda: "worker-1 joins study" in local.place.logs(), "its data")
    assert end(idle) < 5
    local.gate("hold-0").unlink()
    local.until(lambda: local.epochs() == 1, "an epoch")
    assert end(busy) < 10
    assert local.endings() == [Outcome.PREEMPTED]


def test_in_the_midst_of_a_call_that_does_not_return_it_hands_back_all_the_same(local: Night) -> None:
    local.gate("stuck-2").touch()
    worker = local.work()
    local.until(local.gate("is-stuck").exists, "the long call")
    end(worker)
    assert local.endings() == [Outcome.PREEMPTED]
    assert local.epochs() == 2
    parts = local.place.bucket.list(names.logs_prefix("cifake"))
    assert "ended during a long training step" in "".join(local.place.bucket.read(part).decode() for part in parts)


def test_with_a_chief_that_hangs_it_ends_in_time(local: Night) -> None:
    local.gate("hold-2").touch()
    worker = local.work()
    local.until(lambda: local.epochs() == 2, "two epochs")
    with local.chief.stalled():
        end(worker)


def test_without_a_chief_it_ends_in_time(local: Night) -> None:
    local.gate("slow").touch()
    worker = local.work()
    local.until(lambda: local.epochs() == 1, "an epoch")
    local.chief.stop()
    end(worker)


# ---- with a bucket behind a network -----------------------------------------------------------------
@dataclass
class Cloud:
    """A chief and workers whose data and checkpoints are in an emulated gs:// behind a proxy."""

    night: Night
    proxy: FaultProxy
    url: str
    bucket: Bucket

    def work(self) -> Command:
        """Start a worker that sees the bucket through the proxy."""
        return self.night.work(**{names.ENV_BUCKET: self.url, "STORAGE_EMULATOR_HOST": self.proxy.url})


@pytest.fixture
def cloud(place: Place, two_colours: str, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.url)
    url = f"gs://{emulator.new_bucket()}"
    bucket = open_bucket(url)
    with running_proxy(emulator.url, Faults(stall_s=60)) as proxy, night(place, bucket, two_colours) as new_night:
        yield Cloud(new_night, proxy, url, bucket)


def test_with_a_bucket_that_hangs_it_hands_back_in_time(cloud: Cloud) -> None:
    cloud.night.gate("hold-1").touch()
    worker = cloud.work()
    cloud.night.until(lambda: cloud.night.epochs() == 1, "an epoch")
    cloud.proxy.faults = Faults(stall=1.0, stall_s=60)
    cloud.night.gate("hold-1").unlink()
    stalls = cloud.proxy.met[Fault.STALL]
    cloud.night.until(lambda: cloud.proxy.met[Fault.STALL] > stalls, "an upload that hangs")
    end(worker)
    assert cloud.night.endings() == [Outcome.PREEMPTED]
    assert cloud.night.epochs() == 1


def test_while_data_is_downloaded_it_ends_at_once(cloud: Cloud) -> None:
    cloud.proxy.faults = Faults(stall=1.0, stall_s=60)
    worker = cloud.work()
    cloud.night.until(lambda: cloud.proxy.met[Fault.STALL], "a download that hangs")
    assert end(worker) < 10


def test_an_upload_that_is_under_way_arrives_and_is_reported_before_the_end(cloud: Cloud) -> None:
    cloud.night.gate("hold-1").touch()
    worker = cloud.work()
    cloud.night.until(lambda: cloud.night.epochs() == 1, "an epoch")
    cloud.proxy.faults = Faults(latency_s=1.5)
    cloud.night.gate("stuck-2").touch()
    cloud.night.gate("hold-1").unlink()
    cloud.night.until(cloud.night.gate("is-stuck").exists, "the epoch after")
    end(worker)
    assert cloud.night.endings() == [Outcome.PREEMPTED]
    assert cloud.night.epochs() == 2
    trial = cloud.night.trial()
    assert trial is not None
    assert cloud.bucket.exists(trial.checkpoints[1])
