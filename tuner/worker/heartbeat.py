"""The heartbeat: a thread that renews the lease and learns whether the attempt is still wanted."""

import threading
import time
from typing import Any

from tuner.rpc import lease_service
from tuner.worker.chief_client import CALL_TIMEOUT_S, ChiefClient, Grant

BEAT_LATE_S = 2 * CALL_TIMEOUT_S
"""A heartbeat that is so late does not come any more."""
FIRST_BEAT_S = 0.5
"""A trial's first heartbeat comes after so long; a shorter trial needs none."""


class HeartbeatThread:
    """Sends heartbeats from a thread, and learns from them whether the attempt is still wanted."""

    def __init__(self, chief: ChiefClient) -> None:
        self.fenced = threading.Event()
        self._chief = chief
        self._lock = threading.Lock()
        self._beat = lease_service.Heartbeat(worker=chief.worker, incarnation=chief.incarnation)
        self._over = threading.Event()
        self._due = time.monotonic()
        self.answered_at = time.time()
        """When a heartbeat was last answered (seconds since 1970); joining was as good as one."""
        self._awake = threading.Event()
        """There is a trial, or it is over: a worker without one rests for long."""
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)

    def __enter__(self) -> "HeartbeatThread":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Beat no more."""
        self._over.set()
        self._awake.set()
        self._thread.join(1.0)

    def trouble(self) -> str:
        """Say in a sentence that heartbeats are not even sent any more; empty where they are."""
        late_s = time.monotonic() - self._due
        stopped = late_s > BEAT_LATE_S and not self._over.is_set()
        return f"the heartbeat is {late_s:.0f} s late" if stopped else ""

    def at_work(self, grant: Grant) -> None:
        """From now on beat for this attempt."""
        self._say(trial=grant.trial_id, attempt=grant.attempt, epoch=grant.first_epoch, progress=0.0)
        self.fenced.clear()
        self._awake.set()

    def progress(self, epoch: int, share: float, images_per_s: float) -> None:
        """Take note of how far the attempt is."""
        self._say(epoch=epoch, progress=share, images_per_s=images_per_s)

    def idle(self) -> None:
        """From now on beat without a trial."""
        self._awake.clear()
        self._say(trial=None, attempt=0, epoch=0, progress=0.0, images_per_s=0.0)

    def _say(self, **changes: Any) -> None:
        with self._lock:
            self._beat = self._beat.model_copy(update=changes)

    def _run(self) -> None:
        next_s, idle = FIRST_BEAT_S, True
        while not self._rest(next_s, idle):
            self._due = time.monotonic()
            with self._lock:
                beat = self._beat
            idle = beat.trial is None
            answer = self._chief.heartbeat(beat)
            if answer is None:
                continue  # the chief may be starting anew; training goes on
            next_s, self.answered_at = answer.next_s, time.time()
            self._due = time.monotonic() + next_s
            with self._lock:
                same = (beat.trial, beat.attempt) == (self._beat.trial, self._beat.attempt)
                if not answer.held and same:
                    self.fenced.set()

    def _rest(self, seconds: float, idle: bool) -> bool:
        """Wait until the next beat is due, which a new trial makes soon; true where there is to be none."""
        if not idle:
            return self._over.wait(seconds)
        return self._over.wait(FIRST_BEAT_S) if self._awake.wait(seconds) else self._over.is_set()
