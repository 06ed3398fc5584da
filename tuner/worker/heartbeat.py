"""The heartbeat: a thread that renews the lease and learns whether the attempt is still the trial's newest."""

import threading
import time
from typing import Any

from tuner import limits
from tuner.rpc import lease_service
from tuner.worker.chief_client import CALL_TIMEOUT_S, ChiefClient, Grant

BEAT_LATE_S = 2 * CALL_TIMEOUT_S
"""Seconds by which a heartbeat may be late before the worker reports itself unhealthy."""
FIRST_BEAT_S = 0.5
"""Seconds between the start of a trial and its first heartbeat. A shorter trial needs no heartbeat."""


class HeartbeatThread:
    """Sends heartbeats from a thread. `fenced` is set once an answer says that the attempt is not the newest."""

    def __init__(self, chief: ChiefClient) -> None:
        self.fenced = threading.Event()
        self._chief = chief
        self._lock = threading.Lock()
        self._beat = lease_service.Heartbeat(worker=chief.worker, incarnation=chief.incarnation, pod=chief.pod)
        self._stopped = threading.Event()
        self._due = time.monotonic()
        self.answered_at = time.time()
        """Time of the last answered heartbeat (seconds since 1970). At first, the time of joining."""
        self._answered = time.monotonic()
        self._awake = threading.Event()
        """Set while there is a trial, and when the thread must end. Without a trial, a worker sends few heartbeats."""
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> "HeartbeatThread":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Send no more heartbeats."""
        self._stopped.set()
        self._awake.set()
        self._thread.join(1.0)

    def problem(self) -> str:
        """Return a description of the problem if heartbeats are no longer sent, else an empty text."""
        late_s = time.monotonic() - self._due
        stopped = late_s > BEAT_LATE_S and not self._stopped.is_set()
        return f"the heartbeat is {late_s:.0f} s late" if stopped else ""

    def silent_s(self) -> float:
        """Return the seconds since the last answered heartbeat. A change of the wall clock does not affect them."""
        return time.monotonic() - self._answered

    def begin(self, grant: Grant) -> None:
        """Send heartbeats for this attempt from now on."""
        self._update(trial=grant.trial_id, attempt=grant.attempt, epoch=grant.first_epoch, progress=0.0)
        self.fenced.clear()
        self._awake.set()

    def progress(self, epoch: int, share: float, images_per_s: float) -> None:
        """Set the progress that the next heartbeat carries."""
        self._update(epoch=epoch, progress=share, images_per_s=images_per_s)

    def waits_because(self, problem: str) -> None:
        """Set the failure of the environment that every later heartbeat carries; "" if the worker waits no more."""
        self._update(problem=problem[: limits.PROBLEM_CHARACTERS])

    def report_devices(self, gpus: int, device: str) -> None:
        """Report the number of GPUs, and the devices as a text, with every later heartbeat."""
        self._update(gpus=gpus, device=device)

    def idle(self) -> None:
        """Send heartbeats without a trial from now on."""
        self._awake.clear()
        self._update(trial=None, attempt=0, epoch=0, progress=0.0, images_per_s=0.0, problem="")

    def _update(self, **changes: Any) -> None:
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
                continue  # the chief may be restarting, and training continues meanwhile
            next_s, self.answered_at, self._answered = answer.next_s, time.time(), time.monotonic()
            self._due = self._answered + next_s
            with self._lock:
                is_same = (beat.trial, beat.attempt) == (self._beat.trial, self._beat.attempt)
                if not answer.held and is_same:
                    self.fenced.set()

    def _rest(self, seconds: float, idle: bool) -> bool:
        """Wait until the next heartbeat is due, which is soon if a trial begins. Return whether the thread must end."""
        if not idle:
            return self._stopped.wait(seconds)
        return self._stopped.wait(FIRST_BEAT_S) if self._awake.wait(seconds) else self._stopped.is_set()
