"""The view of `status --release`, with the state and the problems of each component and worker of a release."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property

from pydantic import BaseModel, ConfigDict, computed_field

from k8s.cluster.gpus import CLAIMS, GpuRequest, requested_gpus
from k8s.cluster.objects import Event, Job, Pod, PodSpec
from k8s.release import release as releases
from k8s.release.counterparts import has_run, missing_chief, missing_workers
from k8s.release.diagnosis import (
    deployment_problem,
    has_usage_error,
    is_missing_secret,
    is_planned_end,
    is_pulling,
    job_problem,
    pod_problem,
    recreation_advice,
    sidecar_problem,
)
from k8s.release.lost_nodes import NodeStates, lost_pod_problem, silent_worker_problem
from k8s.release.release import Release
from tuner import names
from tuner.errors import EnvironmentFailure
from tuner.study.status import WorkerStatus, is_process_of

HEARD_S = 15.0
"""Seconds since its last call to the chief for which a worker certainly works."""
UNHEARD_S = 600.0
"""Seconds that chief and worker have run, after which a worker that the chief does not know has a problem."""
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
    PULLING = "pulling"  # the node pulls the image of its pod
    STARTING = "starting"  # it has a pod that does not run yet
    RUNNING = "running"
    LOST = "lost"  # its node does not respond
    DONE = "done"
    FAILED = "failed"  # permanently
    STOPPED = "stopped"  # a bucket with 0 replicas
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
    """Number of GPUs, or of resource claims, that the pod requests."""
    gpu_resource: str = ""
    """Resource by which they are requested, such as nvidia.com/gpu, or resourceClaims; "" if the pod requests none."""
    trouble: str | None = None
    """The problem that prevents the component from working, in one sentence."""
    earlier: str | None = None
    """Why the previous pod failed, in one sentence."""
    risk: str | None = None
    """A potential problem, in one sentence."""
    work: WorkerStatus | None = None
    """What the chief knows of the worker; of the most silent process if it has several."""
    processes: list[WorkerStatus] = []
    """What the chief knows of each process of a worker that has several (workers.perPod, workers.perGPU)."""

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
    trouble: str | None = None
    """The problem of the whole release, in one sentence."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def broken(self) -> bool:
        """Whether the release, a component or a worker has a problem now."""
        return bool(self.trouble) or any(component.trouble for component in [*self.components, *self.workers])


def view_release(
    release: Release,
    last_lines: Mapping[str, str],
    work: Sequence[WorkerStatus],
    nodes: NodeStates | None = None,
) -> ReleaseView:
    """Return the view of a release.

    Args:
        release: The objects of the release.
        last_lines: The last log line of failed pods, by the name of the pod.
        work: The status of the workers as reported by the chief; empty if the chief has not answered.
        nodes: The nodes of pods that may have lost their node. Default: none was read.
    """
    viewer = _Viewer(release, last_lines, nodes or NodeStates(datetime.now(UTC)))
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
            *viewer.certificates(),
        ],
        workers=viewer.workers(worker_job, status_by_name) if worker_job else [],
        trouble=namespace_problem(release.cluster.namespace, release.deleted),
    )


def last_lines(release: Release) -> dict[str, str]:
    """Return the last error that each failed pod has logged, or else its last line, by the name of the pod."""
    failed = [
        p for p in release.pods if p.status.phase == "Failed" or any(c.last_state.terminated for c in p.containers())
    ]
    lines: dict[str, str] = {}
    for pod in failed[-MAX_LOGS:]:
        try:
            logged = [
                line
                for line in release.cluster.log(pod.name, tail=20, container=pod.component).splitlines()
                if line.strip()
            ]
        except EnvironmentFailure:
            continue  # the node was lost, or reading is not allowed; the exit code still shows what happened
        errors = [line for line in logged if line.startswith("error: ")]
        if logged:
            lines[pod.name] = (errors or logged)[-1]
    return lines


class _Viewer:
    def __init__(self, release: Release, lines: Mapping[str, str], nodes: NodeStates) -> None:
        self._release = release
        self._lines = lines
        self._nodes = nodes

    def job_component(self, component: str, job: Job) -> ComponentView:
        """Return the view of a component that is a Job with one pod."""
        row = self._view(component, None, job, self._release.pods_of(component))
        if component == releases.CHIEF and row.state is State.RUNNING and not row.trouble:
            return row.model_copy(update={"trouble": missing_workers(self._release, self._nodes.now)})
        return row

    def certificates(self) -> list[ComponentView]:
        """Return the view of the Job that creates the certificates, unless it has done so or does not exist."""
        job = self._release.job(releases.TLS)
        row = self.job_component(releases.TLS, job) if job else None
        return [row] if row and row.state is not State.DONE else []

    def workers(self, job: Job, work: Mapping[str, WorkerStatus]) -> list[ComponentView]:
        """Return the views of all requested workers, and of surplus workers that are still running."""
        pods = [pod for pod in self._release.pods_of(releases.WORKER) if pod.index is not None]
        replicas = job.spec.completions or 0
        alive = {pod.index for pod in pods if pod.status.phase in ("Running", "Pending")}
        rows = []
        for index in sorted(set(range(replicas)) | {i for i in alive if i is not None}):
            of_index = [pod for pod in pods if pod.index == index]
            row = self._view(releases.WORKER, index, job, of_index)
            if of_index and row.state in (State.RUNNING, State.LOST):
                row = self._without_chief(self._with_work(row, of_index[-1], work), of_index[-1], job)
            rows.append(row)
        return rows

    def _with_work(self, row: ComponentView, pod: Pod, work: Mapping[str, WorkerStatus]) -> ComponentView:
        """Add what the chief knows about a running worker: what it does, its silence and its GPUs."""
        name = f"worker-{row.index}"
        processes = [work[each] for each in sorted(work) if is_process_of(each, name)]
        status = work.get(name) or max(processes, key=lambda each: each.silent_s, default=None)
        changes: dict[str, object] = {"work": status, "processes": processes}
        if row.state is State.LOST and status is not None and status.heard and status.silent_s < HEARD_S:
            # the node is cut off from the API server, but the worker still trains
            return row.model_copy(update=changes | {"state": State.RUNNING, "trouble": None, "risk": row.trouble})
        if row.trouble is None and status is None and work and self._has_run_for(pod, UNHEARD_S):
            changes["trouble"] = (
                f"runs, but the chief does not know it; see its log with cifake-tune logs --worker {row.index}"
            )
        elif row.trouble is None and status is not None:
            changes["trouble"] = silent_worker_problem(pod, status, self._nodes)
        known = processes or [each for each in [status] if each]
        if any(each.gpus == 0 for each in known) and row.gpus != "0" and row.state is State.RUNNING:
            changes["risk"] = trains_on_cpu(GpuRequest(int(row.gpus), row.gpu_resource))
        if problem := next((each.problem for each in known if each.problem), ""):
            changes["trouble"] = f"waits: {problem.removesuffix('.')}"
        return row.model_copy(update=changes)

    def _without_chief(self, row: ComponentView, pod: Pod, job: Job) -> ComponentView:
        problem = None if row.trouble else missing_chief(self._release, pod, job, self._nodes.now)
        return row.model_copy(update={"trouble": problem}) if problem else row

    def _has_run_for(self, worker: Pod, seconds: float) -> bool:
        """Return whether a worker's pod and a chief's pod have both run for so many seconds."""
        chiefs = self._release.pods_of(releases.CHIEF)
        now = self._nodes.now
        return has_run(worker, now, seconds) and any(has_run(pod, now, seconds) for pod in chiefs)

    def bucket(self) -> ComponentView:
        """Return the view of the bucket."""
        deployment = self._release.bucket_deployment
        if deployment is None:
            if self._release.lacks_bucket:
                return ComponentView(component=releases.BUCKET, state=State.FAILED, trouble=self._uninstalled())
            return ComponentView(component=releases.BUCKET, state=State.OUTSIDE)
        if not deployment.spec.replicas:
            # a stopped bucket is meant to be, except during a search
            field = "trouble" if any(job.status.active for job in self._release.jobs) else "risk"
            view = ComponentView(component=releases.BUCKET, state=State.STOPPED)
            return view.model_copy(update={field: f"is {releases.STOPPED_BUCKET}"})
        pods = self._release.pods_of(releases.BUCKET)
        problem = deployment_problem(deployment)
        view = self._pod_view(releases.BUCKET, None, pods[-1] if pods else None, deployment.spec.template.spec)
        if not deployment.spec.template.spec.claims():
            view = view.model_copy(update={"risk": f"{view.risk}; {NO_VOLUME}" if view.risk else NO_VOLUME})
        if deployment.status.ready_replicas:
            return view.model_copy(update={"state": State.RUNNING})
        state = State.WAITING if view.state is State.RUNNING else view.state
        return view.model_copy(update={"state": state, "trouble": problem or view.trouble})

    def _uninstalled(self) -> str:
        return (
            "does not exist, because the release was uninstalled or its Deployment was deleted; run helm upgrade "
            f"--install to create it again, or kubectl delete jobs -n {self._release.cluster.namespace} -l "
            f"{names.LABEL_RELEASE}={self._release.name} to end the remaining Jobs"
        )

    def _earlier_jobs(self, component: str) -> str | None:
        jobs = [job.name for job in self._release.earlier_jobs(component)]
        if not jobs:
            return None
        return (
            f"pods of the earlier Job {', '.join(jobs)} also run; unless an upgrade is in progress, run kubectl delete "
            f"job {' '.join(jobs)}"
        )

    def _view(self, component: str, index: int | None, job: Job, pods: Sequence[Pod]) -> ComponentView:
        view = self._job_view(component, index, job, pods)
        risks = [risk for risk in (view.risk, self._earlier_jobs(component)) if risk]
        return view.model_copy(update={"risk": "; ".join(risks) or None})

    def _without_pod(self, job: Job, index: int | None) -> str | None:
        """Return why a worker has no pod if it was removed, or Kueue has admitted fewer ones (workers.minReplicas)."""
        admitted, total = job.spec.parallelism, job.spec.completions or 0
        if index is not None and names.ANNOTATION_PARALLELISM in job.metadata.annotations:
            return f"has no pod since pause --scale-down; run cifake-tune resume --release {self._release.name}"
        if index is None or index < admitted or not job.queue or job.spec.suspend:
            return None
        return (
            f"has no pod, because the quota of Kueue's queue {job.queue} was enough for {admitted} of {total} workers; "
            "the others train all trials"
        )

    def _job_view(self, component: str, index: int | None, job: Job, pods: Sequence[Pod]) -> ComponentView:
        current = pods[-1] if pods else None
        failed_pods = [pod for pod in pods[:-1] if pod.status.phase == "Failed"]
        view = self._pod_view(component, index, current, job.spec.template.spec)
        problem = job_problem(job, self._release.events)
        earlier = self._problem(failed_pods[-1]) if failed_pods else None
        if job.condition("Complete"):
            return view.model_copy(update={"state": State.DONE, "trouble": None})
        if job.condition("Failed"):
            problems = "; ".join(dict.fromkeys(text for text in (problem, view.trouble) if text))
            return view.model_copy(update={"state": State.FAILED, "trouble": problems})
        if current is None or current.status.phase == "Failed":  # the Job creates another pod after a back-off
            if current is not None and is_planned_end(current):
                return view.model_copy(update={"state": State.WAITING, "trouble": problem, "earlier": view.trouble})
            trouble = problem or view.trouble
            risk = self._without_pod(job, index) if current is None and not trouble else None
            return view.model_copy(
                update={"state": State.WAITING, "trouble": trouble, "earlier": earlier, "risk": risk or view.risk}
            )
        own_pods = [pod for pod in failed_pods if job.name in (owner.name for owner in pod.metadata.owner_references)]
        if view.trouble is None and own_pods and has_usage_error(own_pods[-1]) and not current.is_ready:
            # the next pod has the same settings, so it fails as well
            times = sum(has_usage_error(pod) for pod in own_pods)
            count = f"{times} earlier pods" if times > 1 else "an earlier pod"
            trouble = (
                f"fails repeatedly: {count} {self._problem(own_pods[-1])}; fix the cause, and {recreation_advice(job)}"
            )
            return view.model_copy(update={"trouble": trouble})
        return view.model_copy(update={"earlier": earlier})

    def _pod_view(self, component: str, index: int | None, pod: Pod | None, template: PodSpec) -> ComponentView:
        gpus = requested_gpus(pod.spec if pod else template)
        requested = {"gpus": str(gpus.count), "gpu_resource": gpus.resource if gpus.count else ""}
        if pod is None:
            return ComponentView(component=component, index=index, state=State.WAITING, **requested)
        states = {"Running": State.RUNNING, "Succeeded": State.DONE, "Pending": State.STARTING}
        state = states.get(pod.status.phase, State.WAITING)
        if state is State.STARTING and is_pulling(pod, self._release.events):
            state = State.PULLING
        lost = lost_pod_problem(pod, self._nodes)
        problem = lost or self._problem(pod)
        # a pod that is being evicted works until its grace period ends, and is replaced
        is_ending = not lost and pod.status.phase == "Running" and is_planned_end(pod)
        return ComponentView(
            component=component,
            index=index,
            state=State.LOST if lost else state,
            pod=pod.name,
            node=pod.spec.node_name or None,
            trouble=None if is_ending else problem,
            risk=problem if is_ending else None,
            **requested,
        )

    def _problem(self, pod: Pod) -> str | None:
        return sidecar_problem(pod, self._nodes.now) or pod_problem(
            pod, self._unexpected_events, self._lines.get(pod.name, ""), self._nodes
        )

    @cached_property
    def _unexpected_events(self) -> Sequence[Event]:
        """The events without those of pods that wait for certificates which their Job is still to create."""
        job = self._release.job(releases.TLS)
        if job is None or job.condition("Failed") or job.condition("Complete"):
            return self._release.events
        return [event for event in self._release.events if not is_missing_secret(event, self._release.tls_secret)]


def namespace_problem(namespace: str, deleted: datetime | None) -> str | None:
    """Return the problem of a namespace whose deletion has begun; None otherwise."""
    if deleted is None:
        return None
    return (
        f"the namespace {namespace} has been in deletion since {deleted:%H:%M:%S} UTC, so nothing can be created in "
        f"it; if it does not disappear, run kubectl delete jobs --all -n {namespace}"
    )


def trains_on_cpu(gpus: GpuRequest) -> str:
    """Return that a worker requested GPUs and trains on the CPU, with the remedies."""
    image = "an image with CUDA's libraries (make image LOCK=cuda)" if gpus.is_nvidia else "an image for these GPUs"
    value = "remove workers.resourceClaims" if gpus.resource == CLAIMS else "set workers.gpus=0"
    return (
        f"requested {gpus} and finds {'no GPU' if gpus.resource == CLAIMS else 'none'}, so it trains on the CPU and "
        f"its GPUs are idle; build {image}, or {value}"
    )


def joined_titles(titles: Sequence[str]) -> str:
    """Join titles. For example, worker 0, worker 1 and worker 2 become "workers 0, 1, 2"."""
    if len(titles) == 1:
        return titles[0]
    numbers = [title.removeprefix("worker ") for title in titles]
    return f"workers {', '.join(numbers)}" if all(t.startswith("worker ") for t in titles) else ", ".join(titles)
