"""Logs of a release's pods. Each line has a prefix that names its pod."""

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
class PodSelector:
    """Selection of pods by component and index."""

    component: str | None
    """None selects all components."""
    index: int | None = None
    """Index of a single worker; None selects all."""

    @classmethod
    def from_options(cls, component: str | None, worker: int | None) -> "PodSelector":
        """Return the selection made by the options `--component` and `--worker`. Raises UsageError."""
        if component is not None and component not in releases.COMPONENTS:
            raise UsageError(f"--component must be one of {', '.join(releases.COMPONENTS)}, got {component}.")
        if worker is not None and component not in (None, releases.WORKER):
            raise UsageError(f"--worker {worker} and --component {component} are mutually exclusive; keep one of them.")
        return cls(releases.WORKER if worker is not None else component, worker)

    def matches(self, pod: Pod) -> bool:
        """Return whether a pod is selected."""
        components = [self.component] if self.component else releases.COMPONENTS
        return pod.component in components and (self.index is None or pod.index == self.index)

    def __str__(self) -> str:
        return f"worker {self.index}" if self.index is not None else self.component or "release"


def show_logs(release: Release, selector: PodSelector, show: Callable[[str], None]) -> None:
    """Show the existing logs pod by pod, oldest pod first. Raises UsageError if no pod is selected."""
    pods = [pod for pod in release.pods if selector.matches(pod)]
    if not pods:
        raise UsageError(
            f"the {selector} has no pods at present; run cifake-tune status --release {release.name} to see the reason."
        )
    for pod in pods:
        for line in release.cluster.log(pod.name, container=pod.component).splitlines():
            show(f"{_prefix(pod)}{line}")


def follow_logs(release: Release, selector: PodSelector, show: Callable[[str], None]) -> None:
    """Show lines as they are written, until all selected pods and Jobs have ended. Later pods are included."""
    followed: dict[str, threading.Thread] = {}
    # the caller's thread shows the lines, so that the command ends if its output is closed
    lines: SimpleQueue[str] = SimpleQueue()

    def follow(pod: Pod) -> None:
        try:
            for line in release.cluster.follow_log(pod.name, pod.component):
                lines.put(f"{_prefix(pod)}{line}")
        except EnvironmentFailure as error:
            lines.put(f"{_prefix(pod)}(the log cannot be followed: {error})")

    while True:
        for pod in release.pods:
            if (
                selector.matches(pod)
                and pod.metadata.uid not in followed
                and pod.status.phase not in ("Pending", "Unknown")
            ):
                thread = threading.Thread(target=follow, args=(pod,), daemon=True)
                followed[pod.metadata.uid] = thread
                thread.start()
        finished = _has_finished(release, selector) and not any(thread.is_alive() for thread in followed.values())
        for line in _new_lines(lines, 0.0 if finished else POLL_S):
            show(line)
        if finished:
            return
        release = releases.load(release.cluster, release.name)


def _new_lines(lines: SimpleQueue[str], timeout_s: float) -> Iterator[str]:
    """Yield the lines that arrive within `timeout_s` seconds; with 0, the lines that have already arrived."""
    deadline = time.monotonic() + timeout_s
    while not timeout_s or time.monotonic() < deadline:
        try:
            yield lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            return


def _has_finished(release: Release, selector: PodSelector) -> bool:
    jobs = [job for job in release.jobs if selector.component in (None, job.component)]
    if selector.component == releases.BUCKET or not jobs:
        return not any(selector.matches(pod) and pod.status.phase in ("Running", "Pending") for pod in release.pods)
    return all(job.condition("Complete") or job.condition("Failed") for job in jobs)


def _prefix(pod: Pod) -> str:
    return f"{pod.component}{'' if pod.index is None else f'-{pod.index}'} | "
