"""The view of `status --release`, with the state and the problems of each component and worker of a release."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from k8s.cluster.objects import Job, Pod
from k8s.release import release as releases
from k8s.release.diagnosis import deployment_problem, job_problem, pod_problem
from k8s.release.release import Release
from tuner import names
from tuner.errors import EnvironmentFailure
from tuner.study.status import WorkerStatus

NO_VOLUME = (
    "is lost with its pod, and so is the study, because the bucket has no volume; set bucket.emulator.storageClass or "
    "bucket.url=gs://BUCKET"
)
MAX_LOGS = 8
"""Maximum number of failed pods whose logs are read. The newest ones are read."""


class ReleaseModel(BaseModel):
    """Base of the models in this file. The names of their fields are the keys of `status --release --json`."""

    model_config = ConfigDict(frozen=True)


class State(StrEnum):
    """State of a component."""

    WAITING = "waiting"  # for another component, or for a pod
    STARTING = "starting"  # it has a pod that does not run yet
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"  # permanently
    OUTSIDE = "outside"  # a bucket outside the cluster


class ComponentView(ReleaseModel):
    """A component or a single worker."""

    component: str
    index: int | None = None
    """Index of a worker; None for other components."""
    state: State
    pod: str | None = None
    node: str | None = None
    gpus: str = "0"
    trouble: str | None = None
    """The problem that prevents the component from working, in one sentence."""
    earlier: str | None = None
    """Why the previous pod failed, in one sentence."""
    risk: str | None = None
    """A potential problem, in one sentence."""
    work: WorkerStatus | None = None

    @property
    def title(self) -> str:
        """Name of the component or worker for use in a sentence."""
        return self.component if self.index is None else f"{self.component} {self.index}"


class ReleaseView(ReleaseModel):
    """State of a release."""

    release: str
    namespace: str
    bucket: str
    worker_job: str
    """Name of the workers' Job; the names of the workers' pods begin with it."""
    components: list[ComponentView]
    workers: list[ComponentView]

    @property
    def has_problems(self) -> bool:
        """Whether any component or worker has a problem now."""
        return any(component.trouble for component in [*self.components, *self.workers])


def view_release(release: Release, last_lines: Mapping[str, str], work: Sequence[WorkerStatus]) -> ReleaseView:
    """Return the view of a release.

    Args:
        release: The objects of the release.
        last_lines: The last log line of failed pods, by the name of the pod.
        work: The status of the workers as reported by the chief.
    """
    viewer = _Viewer(release, last_lines)
    worker_job = release.job(releases.WORKER)
    status_by_name = {status.worker: status for status in work}
    return ReleaseView(
        release=release.name,
        namespace=release.cluster.namespace,
        bucket=release.bucket_url,
        worker_job=worker_job.name if worker_job else "",
        components=[
            *[
                viewer.job_component(c, job)
                for c in (releases.CHIEF, releases.EVALUATOR, releases.DATA)
                if (job := release.job(c))
            ],
            viewer.bucket(),
        ],
        workers=viewer.workers(worker_job, status_by_name) if worker_job else [],
    )


def last_lines(release: Release) -> dict[str, str]:
    """Return the last error that each failed pod has logged, or else its last line, by the name of the pod."""
    failed = [
        p for p in release.pods if p.status.phase == "Failed" or any(c.last_state.terminated for c in p.containers())
    ]
    lines: dict[str, str] = {}
    for pod in failed[-MAX_LOGS:]:
        try:
            logged = [line for line in release.cluster.log(pod.name, tail=20).splitlines() if line.strip()]
        except EnvironmentFailure:
            continue  # the node was lost, or reading is not allowed; the exit code still shows what happened
        errors = [line for line in logged if line.startswith("error: ")]
        if logged:
            lines[pod.name] = (errors or logged)[-1]
    return lines


class _Viewer:
    def __init__(self, release: Release, lines: Mapping[str, str]) -> None:
        self._release = release
        self._lines = lines

    def job_component(self, component: str, job: Job) -> ComponentView:
        """Return the view of a component that is a Job with one pod."""
        return self._view(component, None, job, self._release.pods_of(component))

    def workers(self, job: Job, work: Mapping[str, WorkerStatus]) -> list[ComponentView]:
        """Return the views of all requested workers, and of surplus workers that are still running."""
        pods = [pod for pod in self._release.pods_of(releases.WORKER) if pod.index is not None]
        replicas = job.spec.completions or 0
        alive = {pod.index for pod in pods if pod.status.phase in ("Running", "Pending")}
        rows = []
        for index in sorted(set(range(replicas)) | {i for i in alive if i is not None}):
            row = self._view(releases.WORKER, index, job, [pod for pod in pods if pod.index == index])
            rows.append(row.model_copy(update={"work": work.get(f"worker-{index}")}))
        return rows

    def bucket(self) -> ComponentView:
        """Return the view of the bucket."""
        deployment = self._release.bucket_deployment
        if deployment is None:
            return ComponentView(component=releases.BUCKET, state=State.OUTSIDE)
        pods = self._release.pods_of(releases.BUCKET)
        problem = deployment_problem(deployment)
        view = self._pod_view(releases.BUCKET, None, pods[-1] if pods else None)
        if not deployment.spec.template.spec.claims():
            view = view.model_copy(update={"risk": NO_VOLUME})
        if deployment.status.ready_replicas:
            return view.model_copy(update={"state": State.RUNNING})
        state = State.WAITING if view.state is State.RUNNING else view.state
        return view.model_copy(update={"state": state, "trouble": problem or view.trouble})

    def _view(self, component: str, index: int | None, job: Job, pods: Sequence[Pod]) -> ComponentView:
        current = pods[-1] if pods else None
        failed_pods = [pod for pod in pods[:-1] if pod.status.phase == "Failed"]
        view = self._pod_view(component, index, current)
        problem = job_problem(job, self._release.events)
        earlier = self._problem(failed_pods[-1]) if failed_pods else None
        if job.condition("Complete"):
            return view.model_copy(update={"state": State.DONE, "trouble": None})
        if job.condition("Failed"):
            problems = "; ".join(dict.fromkeys(text for text in (problem, view.trouble) if text))
            return view.model_copy(update={"state": State.FAILED, "trouble": problems})
        if current is None or current.status.phase == "Failed":  # the Job creates another pod after a back-off
            state = State.WAITING
            return view.model_copy(update={"state": state, "trouble": problem or view.trouble, "earlier": earlier})
        return view.model_copy(update={"earlier": earlier})

    def _pod_view(self, component: str, index: int | None, pod: Pod | None) -> ComponentView:
        if pod is None:
            return ComponentView(component=component, index=index, state=State.WAITING)
        states = {"Running": State.RUNNING, "Succeeded": State.DONE, "Pending": State.STARTING}
        return ComponentView(
            component=component,
            index=index,
            state=states.get(pod.status.phase, State.WAITING),
            pod=pod.name,
            node=pod.spec.node_name or None,
            gpus=pod.spec.requested(names.GPU_RESOURCE),
            trouble=self._problem(pod),
        )

    def _problem(self, pod: Pod) -> str | None:
        return pod_problem(pod, self._release.events, self._lines.get(pod.name, ""))
