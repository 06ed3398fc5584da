"""What `status --release` shows beside the study: the components of a release and its workers, with what is wrong."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from k8s.cluster.objects import Job, Pod
from k8s.release import release as releases
from k8s.release.diagnosis import deployment_trouble, job_trouble, pod_trouble
from k8s.release.release import Release
from tuner import names
from tuner.errors import EnvironmentFailure
from tuner.study.status import WorkerStatus

NO_VOLUME = (
    "is lost with its pod, and the study with it: it was installed without a volume; set bucket.emulator.storageClass "
    "or bucket.url=gs://BUCKET"
)
MAX_LOGS = 8
"""So many pods that failed are asked for their last line, newest first."""


class ReleaseModel(BaseModel):
    """Base of the views."""

    model_config = ConfigDict(frozen=True)


class State(StrEnum):
    """How far a component is."""

    WAITING = "waiting"  # for what comes before it, or for a pod
    STARTING = "starting"  # it has a pod, which does not run yet
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"  # for good
    OUTSIDE = "outside"  # a bucket that is not the release's


class ComponentView(ReleaseModel):
    """One component, or one worker."""

    component: str
    index: int | None = None
    """Of a worker."""
    state: State
    pod: str | None = None
    node: str | None = None
    gpus: str = "0"
    trouble: str | None = None
    """Why it does not do its work, in a sentence."""
    earlier: str | None = None
    """Why the pod before this one ended."""
    risk: str | None = None
    """What may go wrong later, though nothing has, in a sentence."""
    work: WorkerStatus | None = None

    @property
    def title(self) -> str:
        """What it is called in a sentence."""
        return self.component if self.index is None else f"{self.component} {self.index}"


class ReleaseView(ReleaseModel):
    """A release."""

    release: str
    namespace: str
    bucket: str
    worker_job: str
    """Name of the Job whose pods the workers are; theirs begin with it."""
    components: list[ComponentView]
    workers: list[ComponentView]

    @property
    def is_troubled(self) -> bool:
        """Say whether something is wrong now."""
        return any(each.trouble for each in [*self.components, *self.workers])


def view_release(release: Release, last_lines: Mapping[str, str], work: Sequence[WorkerStatus]) -> ReleaseView:
    """Return what there is to show. `last_lines`: by the name of the pod; `work`: what the chief says."""
    found = _Viewer(release, last_lines)
    worker_job = release.job(releases.WORKER)
    by_name = {each.worker: each for each in work}
    return ReleaseView(
        release=release.name,
        namespace=release.cluster.namespace,
        bucket=release.bucket_url,
        worker_job=worker_job.name if worker_job else "",
        components=[
            *[
                found.of_job(c, job)
                for c in (releases.CHIEF, releases.EVALUATOR, releases.DATA)
                if (job := release.job(c))
            ],
            found.bucket(),
        ],
        workers=found.workers(worker_job, by_name) if worker_job else [],
    )


def last_lines(release: Release) -> dict[str, str]:
    """Return, by the name of the pod, what pods wrote last before they failed."""
    failed = [
        p for p in release.pods if p.status.phase == "Failed" or any(c.last_state.terminated for c in p.containers())
    ]
    lines: dict[str, str] = {}
    for pod in failed[-MAX_LOGS:]:
        try:
            written = [line for line in release.cluster.log(pod.name, tail=20).splitlines() if line.strip()]
        except EnvironmentFailure:
            continue  # the node is gone, or we may not; the rest of the sentence says what happened
        errors = [line for line in written if line.startswith("error: ")]
        if written:
            lines[pod.name] = (errors or written)[-1]
    return lines


class _Viewer:
    def __init__(self, release: Release, lines: Mapping[str, str]) -> None:
        self._release = release
        self._lines = lines

    def of_job(self, component: str, job: Job) -> ComponentView:
        """Return a component that is a Job of one pod."""
        return self._view(component, None, job, self._release.pods_of(component))

    def workers(self, job: Job, work: Mapping[str, WorkerStatus]) -> list[ComponentView]:
        """Return all workers that there should be, and those that are about to end."""
        pods = [pod for pod in self._release.pods_of(releases.WORKER) if pod.index is not None]
        wanted = job.spec.completions or 0
        alive = {pod.index for pod in pods if pod.status.phase in ("Running", "Pending")}
        rows = []
        for index in sorted(set(range(wanted)) | {i for i in alive if i is not None}):
            row = self._view(releases.WORKER, index, job, [pod for pod in pods if pod.index == index])
            rows.append(row.model_copy(update={"work": work.get(f"worker-{index}")}))
        return rows

    def bucket(self) -> ComponentView:
        """Return the bucket."""
        deployment = self._release.bucket_deployment
        if deployment is None:
            return ComponentView(component=releases.BUCKET, state=State.OUTSIDE)
        pods = self._release.pods_of(releases.BUCKET)
        trouble = deployment_trouble(deployment)
        seen = self._of_pod(releases.BUCKET, None, pods[-1] if pods else None)
        if not deployment.spec.template.spec.claims():
            seen = seen.model_copy(update={"risk": NO_VOLUME})
        if deployment.status.ready_replicas:
            return seen.model_copy(update={"state": State.RUNNING})
        state = State.WAITING if seen.state is State.RUNNING else seen.state
        return seen.model_copy(update={"state": state, "trouble": trouble or seen.trouble})

    def _view(self, component: str, index: int | None, job: Job, pods: Sequence[Pod]) -> ComponentView:
        current = pods[-1] if pods else None
        before = [pod for pod in pods[:-1] if pod.status.phase == "Failed"]
        view = self._of_pod(component, index, current)
        trouble = job_trouble(job, self._release.events)
        earlier = self._trouble(before[-1]) if before else None
        if job.condition("Complete"):
            return view.model_copy(update={"state": State.DONE, "trouble": None})
        if job.condition("Failed"):
            said = "; ".join(dict.fromkeys(text for text in (trouble, view.trouble) if text))
            return view.model_copy(update={"state": State.FAILED, "trouble": said})
        if current is None or current.status.phase == "Failed":  # another is made after a pause
            state = State.WAITING
            return view.model_copy(update={"state": state, "trouble": trouble or view.trouble, "earlier": earlier})
        return view.model_copy(update={"earlier": earlier})

    def _of_pod(self, component: str, index: int | None, pod: Pod | None) -> ComponentView:
        if pod is None:
            return ComponentView(component=component, index=index, state=State.WAITING)
        states = {"Running": State.RUNNING, "Succeeded": State.DONE, "Pending": State.STARTING}
        return ComponentView(
            component=component,
            index=index,
            state=states.get(pod.status.phase, State.WAITING),
            pod=pod.name,
            node=pod.spec.node_name or None,
            gpus=pod.spec.asks_for(names.GPU_RESOURCE),
            trouble=self._trouble(pod),
        )

    def _trouble(self, pod: Pod) -> str | None:
        return pod_trouble(pod, self._release.events, self._lines.get(pod.name, ""))
