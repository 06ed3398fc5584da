"""What the pods of a release write, as they stand or as they come, each line with whose it is."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from k8s.cluster.objects import Pod
from k8s.release import release as releases
from k8s.release.release import Release
from tuner.errors import EnvironmentFailure, UsageError

POLL_S = 2.0


@dataclass(frozen=True)
class Whose:
    """Which pods are meant."""

    component: str | None
    """None: all."""
    index: int | None = None
    """Of one worker."""

    @classmethod
    def given(cls, component: str | None, worker: int | None) -> "Whose":
        """Return what a user means. Raises UsageError."""
        if component is not None and component not in releases.COMPONENTS:
            raise UsageError(f"--component {component}: write one of {', '.join(releases.COMPONENTS)}.")
        if worker is not None and component not in (None, releases.WORKER):
            raise UsageError(f"--worker {worker} and --component {component} exclude each other.")
        return cls(releases.WORKER if worker is not None else component, worker)

    def fits(self, pod: Pod) -> bool:
        """Say whether a pod is one of them."""
        wanted = [self.component] if self.component else releases.COMPONENTS
        return pod.component in wanted and (self.index is None or pod.index == self.index)

    def __str__(self) -> str:
        return f"worker {self.index}" if self.index is not None else self.component or "release"


def show_logs(release: Release, whose: Whose, show: Callable[[str], None]) -> None:
    """Show what is there, pod by pod, the oldest first. Raises UsageError where there is no such pod."""
    pods = [pod for pod in release.pods if whose.fits(pod)]
    if not pods:
        raise UsageError(
            f"the {whose} has no pods at the moment; cifake-tune status --release {release.name} says why."
        )
    for pod in pods:
        for line in release.cluster.log(pod.name).splitlines():
            show(f"{_prefix(pod)}{line}")


def follow_logs(release: Release, whose: Whose, show: Callable[[str], None]) -> None:
    """Show lines as they come, also of pods that come later, until all pods have ended and their Jobs too."""
    followed: dict[str, threading.Thread] = {}
    lines: SimpleQueue[str] = SimpleQueue()  # shown by the caller's thread, which ends when nobody reads them any more

    def follow(pod: Pod) -> None:
        try:
            for line in release.cluster.follow_log(pod.name):
                lines.put(f"{_prefix(pod)}{line}")
        except EnvironmentFailure as error:
            lines.put(f"{_prefix(pod)}(its log cannot be followed: {error})")

    while True:
        for pod in release.pods:
            if whose.fits(pod) and pod.metadata.uid not in followed and pod.status.phase not in ("Pending", "Unknown"):
                thread = threading.Thread(target=follow, args=(pod,), daemon=True)
                followed[pod.metadata.uid] = thread
                thread.start()
        over = _over(release, whose) and not any(thread.is_alive() for thread in followed.values())
        for line in _coming(lines, 0.0 if over else POLL_S):
            show(line)
        if over:
            return
        release = releases.load(release.cluster, release.name)


def _coming(lines: SimpleQueue[str], for_s: float) -> Iterator[str]:
    """Yield what comes within so many seconds; without any, all that is there."""
    deadline = time.monotonic() + for_s
    while not for_s or time.monotonic() < deadline:
        try:
            yield lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            return


def _over(release: Release, whose: Whose) -> bool:
    jobs = [job for job in release.jobs if whose.component in (None, job.component)]
    if whose.component == releases.BUCKET or not jobs:
        return not any(whose.fits(pod) and pod.status.phase in ("Running", "Pending") for pod in release.pods)
    return all(job.condition("Complete") or job.condition("Failed") for job in jobs)


def _prefix(pod: Pod) -> str:
    return f"{pod.component}{'' if pod.index is None else f'-{pod.index}'} | "
