"""Diagnosis of pods, Jobs and Deployments: one sentence on why a pod does not run or is not created, with the fix.

The functions depend only on the API server's objects. Their sentences follow a subject: "chief: …", "worker 3: …".
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from k8s.cluster.objects import ContainerStatus, Deployment, Event, Job, Pod, Terminated, Waiting
from k8s.cluster.text import shortened
from k8s.release.lost_nodes import NodeStates
from k8s.release.scheduling import unscheduled_problem
from tuner import names
from tuner.errors import ExitCode

_OUT_OF_MEMORY = "OOMKilled"
_RESOURCES = {
    "chief": "chief.resources",
    "worker": "workers.resources",
    "evaluator": "evaluator.resources",
    "data": "data.resources",
    "bucket": "bucket.emulator.resources",
    "upgrade-check": "upgradeCheck.resources",
}
"""The chart's values of the resources of each component."""
SETUP_S = 60.0
"""Seconds after scheduling for which a node may fail to set up a pod's volumes and network."""
SIDECAR_S = 30.0
"""Seconds for which a sidecar may run after the pod's own container has ended."""

_EXIT_CODES = {
    ExitCode.DONE: "its work is done",
    ExitCode.INTERNAL: "an internal error of cifake-tune",
    ExitCode.USAGE: "an error that a retry does not fix",
    ExitCode.ENVIRONMENT: "the bucket or the chief failed, so the pod is retried",
    ExitCode.NO_RESULT: "the search ended without a usable trial",
    ExitCode.FENCED: "another chief has taken over the study",
    ExitCode.PREEMPTED: "the process was terminated and returned its trial",
    137: "killed with SIGKILL: memory ran out, the grace period had ended, or the node was lost",
    139: "a library crashed with SIGSEGV",
}


def pod_problem(
    pod: Pod, events: Sequence[Event] = (), last_line: str = "", states: NodeStates | None = None
) -> str | None:
    """Return the problem of a pod; None if it is working or has succeeded.

    Args:
        pod: The pod.
        events: Events of the namespace; those of other objects are ignored.
        last_line: The last line of the log, if the pod has failed.
        states: The nodes that `read_nodes` has read; None if none was read.
    """
    pod_events = [event for event in events if event.involved_object.uid == pod.metadata.uid]
    disruption = pod.condition("DisruptionTarget")
    if pod.status.phase == "Succeeded":
        return None
    if pod.status.reason or (disruption and disruption.status == "True"):
        return _disrupted(pod, disruption.reason if disruption else "", disruption.message if disruption else "")
    if pod.metadata.deletion_timestamp and pod.status.phase != "Failed":
        return None if pod.status.phase == "Running" else "is being deleted"
    for container in pod.containers():
        if problem := _container_problem(pod, container, pod_events, last_line, states):
            return problem
    return _pending(pod, events, states) if pod.status.phase == "Pending" else None


def is_planned_end(pod: Pod) -> bool:
    """Return whether a pod ends for a reason outside of it, so that its Job replaces it and no user need act.

    A node that evicts a pod for want of memory or disk does so again, so that is not such a reason.
    """
    disruption = pod.condition("DisruptionTarget")
    if pod.status.reason == "Evicted" or pod.status.phase == "Succeeded":
        return False
    if disruption and disruption.status == "True":
        return not (disruption.reason == "TerminationByKubelet" and "low on resource" in disruption.message)
    states = [status.state.terminated for status in pod.containers()]
    return pod.status.phase == "Failed" and any(s is not None and s.exit_code == ExitCode.PREEMPTED for s in states)


def is_missing_secret(event: Event, secret: str) -> bool:
    """Return whether the event says that a pod cannot start because this Secret does not exist."""
    return event.reason == "FailedMount" and f'secret "{secret}" not found' in event.message


def is_pulling(pod: Pod, events: Sequence[Event]) -> bool:
    """Return whether the node pulls an image of a pod that has not started yet."""
    if not any(c.state.waiting and c.state.waiting.reason in _CREATING for c in pod.containers()):
        return False
    own = [e for e in events if e.involved_object.uid == pod.metadata.uid and e.reason in ("Pulling", "Pulled")]
    # pods of one uid have distinct events of each container, and Pulled follows Pulling
    return sum(1 if event.reason == "Pulling" else -1 for event in own if not _was_present(event)) > 0


def has_usage_error(pod: Pod) -> bool:
    """Return whether a pod has failed because its settings are invalid, so that the next pod fails as well."""
    states = [status.state.terminated for status in pod.containers()]
    return pod.status.phase == "Failed" and any(s is not None and s.exit_code == ExitCode.USAGE for s in states)


def sidecar_problem(pod: Pod, now: datetime) -> str | None:
    """Return the problem of a pod whose own container has ended while an injected one runs; None otherwise.

    Such a pod never completes. The pod's own container has the name of its component.
    """
    ended = {s.name: s.state.terminated for s in pod.status.container_statuses if s.state.terminated}
    running = [s.name for s in pod.status.container_statuses if s.state.running]
    main = ended.get(pod.component)
    if pod.status.phase != "Running" or main is None or not running:
        return None
    if main.finished_at and now - main.finished_at < timedelta(seconds=SIDECAR_S):
        return None
    cause = "killed at its memory limit" if main.reason == _OUT_OF_MEMORY else exit_code_meaning(main.exit_code)
    return (
        f"has ended with exit code {main.exit_code} ({cause}), but the container {', '.join(running)}, which another "
        "program has injected, still runs, so the pod never completes; use native sidecars, disable the injection "
        f"with podAnnotations, or set {names.ENV_QUIT_URL} in extraEnv (see docs/kubernetes.md, Service meshes), and "
        f"upgrade the release; kubectl delete pod {pod.name} helps only then, because the next pod repeats its work"
    )


def job_problem(job: Job, events: Sequence[Event] = ()) -> str | None:
    """Return why a Job has failed or creates no pods; None if it has no problem."""
    if failed := job.condition("Failed"):
        return f"the Job {job.name} has failed: {_failed(job, failed.reason, failed.message)}"
    if job.spec.suspend and job.queue and job.has_started:
        return f"waits in Kueue's queue {job.queue}; run kubectl get workloads to see its position"
    refusals = [e for e in events if e.involved_object.uid == job.metadata.uid and e.reason == "FailedCreate"]
    expected = min(job.spec.parallelism, job.spec.completions or job.spec.parallelism) - job.status.succeeded
    if refusals and not job.condition("Complete") and job.status.active < expected:
        return f"no pod can be created: {creation_problem(_newest(refusals).message)}"
    return None


def deployment_problem(deployment: Deployment) -> str | None:
    """Return why a Deployment creates no pods; None if it has no problem."""
    for condition in deployment.status.conditions:
        if condition.type == "ReplicaFailure" and condition.status == "True":
            return f"no pod can be created: {creation_problem(condition.message)}"
    return None


def exit_code_meaning(code: int) -> str:
    """Return the meaning of an exit code of cifake-tune or of the kernel."""
    if code in _EXIT_CODES:
        return _EXIT_CODES[code]
    return f"killed by signal {code - 128}" if 128 < code < 165 else "not an exit code of cifake-tune"


def is_installed_by_helm(job: Job) -> bool:
    """Return whether Helm has created the Job, and replaces it in an upgrade."""
    return "meta.helm.sh/release-name" in job.metadata.annotations


def recreation_advice(job: Job) -> str:
    """Return the commands that replace a failed Job."""
    by_helm = is_installed_by_helm(job)
    return "run helm upgrade" if by_helm else f"run kubectl delete job {job.name}, and apply the manifests again"


_CREATING = ("ContainerCreating", "PodInitializing")
"""Reasons why a container of a scheduled pod waits that are no errors."""


def _was_present(event: Event) -> bool:
    return "already present" in event.message


def _pending(pod: Pod, events: Sequence[Event], states: NodeStates | None) -> str | None:
    scheduled = pod.condition("PodScheduled")
    if scheduled is None:
        return "is pending, because the scheduler has not processed the pod yet"
    if scheduled.status == "False":
        return f"is pending: {unscheduled_problem(pod, scheduled.message, events, states)}"
    return _setup_problem(pod, [event for event in events if event.involved_object.uid == pod.metadata.uid], states)


# ---- containers -----------------------------------------------------------------------------------
def _container_problem(
    pod: Pod, container: ContainerStatus, events: Sequence[Event], last_line: str, states: NodeStates | None
) -> str | None:
    state = container.state
    if state.waiting:
        return _waiting_problem(pod, container, state.waiting, events, last_line, states)
    if state.terminated and (state.terminated.exit_code or state.terminated.reason == _OUT_OF_MEMORY):
        return _terminated_problem(pod, container.name, state.terminated, last_line)
    return None


def _waiting_problem(
    pod: Pod,
    container: ContainerStatus,
    waiting: Waiting,
    events: Sequence[Event],
    last_line: str,
    states: NodeStates | None,
) -> str | None:
    message = _one_line(waiting.message)
    match waiting.reason:
        case reason if reason in _CREATING:
            sentence = _setup_problem(pod, events, states)
        case "CrashLoopBackOff":
            last = container.last_state.terminated
            cause = _terminated_problem(pod, container.name, last, last_line) if last else None
            sentence = (
                f"{cause or 'has a container that ends repeatedly'}; it was restarted {container.restart_count} times"
            )
        case "ErrImagePull" | "ImagePullBackOff":
            sentence = f"the image {container.image} cannot be pulled: {_registry_problem(waiting.message, events)}"
        case "InvalidImageName":
            sentence = f"the image name {container.image!r} is not valid; correct image.repository and image.tag"
        case "ErrImageNeverPull":
            sentence = (
                f"the node does not have the image {container.image}, and image.pullPolicy is Never; change "
                "image.pullPolicy"
            )
        case "CreateContainerConfigError":
            sentence = (
                f"cannot create its container: {message}; create the missing object, or correct the value that names it"
            )
        case _:
            sentence = f"cannot start its container: {waiting.reason} {message}".rstrip()
    return sentence


def _terminated_problem(pod: Pod, name: str, state: Terminated, last_line: str) -> str:
    if state.reason == _OUT_OF_MEMORY:
        limit = next((c.resources.limits.get("memory") for c in pod.spec.containers if c.name == name), None)
        cause = f"at its memory limit of {limit}" if limit else "because its node ran out of memory"
        value = _RESOURCES.get(pod.component, "resources")
        return f"was killed {cause} (OOMKilled); raise {value}.limits.memory, or train smaller models or batches"
    if state.reason in ("StartError", "ContainerCannotRun"):
        return f"cannot start its container: {_one_line(state.message).rpartition('container process: ')[2]}"
    log = f"; the last line of its log: {_one_line(last_line).removesuffix('.')}" if last_line else ""
    return f"ended with exit code {state.exit_code} ({exit_code_meaning(state.exit_code)}){log}"


def _registry_problem(message: str, events: Sequence[Event]) -> str:
    """Return why the registry did not deliver an image, and what to do about it."""
    pulls = [event.message for event in events if event.message.startswith("Failed to pull image")]
    reason = _one_line(message if ": " in message else pulls[-1] if pulls else message)
    lower = reason.lower()
    if any(word in lower for word in ("unauthorized", "denied", "forbidden", "401", "403", "authentication")):
        return (
            f"the registry refuses access ({_tail(reason)}); set imagePullSecrets, or grant the nodes' account read "
            "access"
        )
    if "not found" in lower or "manifest unknown" in lower:
        return "the registry has no such image; correct image.repository and image.tag, or push the image"
    if any(word in lower for word in ("no such host", "dial tcp", "timeout", "connection refused", "i/o")):
        return f"the registry does not respond ({_tail(reason)}); correct image.repository or the nodes' network access"
    if "toomanyrequests" in lower:
        return f"the registry limits the rate of pulls ({_tail(reason)}); wait, or set imagePullSecrets"
    return _tail(reason) or "the node reports no reason"


def _setup_problem(pod: Pod, events: Sequence[Event], states: NodeStates | None) -> str | None:
    """Return why a scheduled pod is not set up on its node; None if no event reports a problem.

    A new pod's volumes and network may fail at first, for example because the API server does not yet allow the kubelet
    to read the claim. The kubelet tries again, so this is a problem only after SETUP_S.
    """
    reasons = ("FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox")
    # a kubelet that has not read a new Secret or ConfigMap yet tries again within a second
    problems = [e for e in events if e.reason in reasons and not re.search("failed to sync .* cache", e.message)]
    if not problems:
        return None
    message = _one_line(_newest(problems).message)
    if match := re.search(r'(secret|configmap) "(.+?)" not found', message):
        kind = {"secret": "Secret", "configmap": "ConfigMap"}[match[1]]
        return (
            f"cannot start, because the {kind} {match[2]} does not exist; create it, or correct the value that names it"
        )
    scheduled = pod.condition("PodScheduled")
    since = scheduled.last_transition_time if scheduled else None
    if states and since and states.now - since < timedelta(seconds=SETUP_S):
        return None
    return f"cannot start, and its node keeps trying: {shortened(message, 300)}"


# ---- disruptions, failed Jobs and pods that were not created -------------------------------------
_DISRUPTIONS = {
    "PreemptionByScheduler": "was preempted by a pod of higher priority",
    "DeletionByTaintManager": "was deleted because its node is not ready or was tainted",
    "EvictionByEvictionAPI": "was evicted, because its node is being drained or a user requested the eviction",
    "TerminationByKubelet": "was terminated by its node",
    "DeletionByPodGC": "was lost with its node",
}


def _disrupted(pod: Pod, reason: str, message: str) -> str:
    details = pod.status.message or (message if reason == "TerminationByKubelet" else "")
    if pod.status.reason == "Evicted" or (reason == "TerminationByKubelet" and details):
        return f"was evicted by its node: {_one_line(details).rstrip('.')}"
    if reason in _DISRUPTIONS:
        return _DISRUPTIONS[reason]
    return f"{pod.status.reason or reason}: {_one_line(details or message)}".rstrip(": ")


def _failed(job: Job, reason: str, message: str) -> str:
    again = recreation_advice(job)
    if match := re.search(r"failed with exit code (\d+)", message):
        code = int(match[1])
        return f"exit code {code} ({exit_code_meaning(code)}); fix the cause, and {again} to create a new Job"
    if reason in ("BackoffLimitExceeded", "FailedIndexes"):
        return f"its pods failed and it creates no others; fix the cause, and {again} to create a new Job"
    return f"{message or reason}".rstrip(".")


def creation_problem(message: str) -> str:
    """Return why the API server refused to create a pod."""
    reason = _one_line(message)
    if match := re.search(r"exceeded quota: (\S+), requested: (\S+?), used: (\S+?), limited: (\S+)", reason):
        resource, requested = match[2].split("=")[0], match[2].split("=")[-1]
        used, limited = match[3].split("=")[-1], match[4].split("=")[-1]
        return (
            f"the quota {match[1]} allows {limited} {resource}, of which {used} are used, and the pod requests "
            f"{requested} more; lower workers.replicas, workers.gpus or resources, or ask an administrator to raise "
            "the quota"
        )
    if match := re.search(r"failed quota: (\S+): must specify (.*)", reason):
        return f"the quota {match[1]} requires every container to set {match[2]}; add it to resources"
    if match := re.search(r'violates PodSecurity "([^"]+)": (.*)', reason):
        return (
            f"the namespace enforces the pod security standard {match[1].split(':')[0]}, which the pod violates "
            f"({shortened(match[2], 200)}); correct podSecurityContext or extraVolumes"
        )
    if match := re.search(r'serviceaccount "?([\w.-]+)"? not found', reason):
        return f"the ServiceAccount {match[1]} does not exist; run helm upgrade to create it again"
    if match := re.search(r"no PriorityClass with name (\S+) was found", reason):
        return f"there is no PriorityClass {match[1]}; correct priorityClassName, or create the class"
    return reason.removeprefix("Error creating: ")


def _newest(events: Sequence[Event]) -> Event:
    return max(events, key=lambda e: str(e.last_timestamp or e.event_time or e.metadata.creation_timestamp or ""))


def _tail(message: str) -> str:
    """Return the last parts of a chain of errors, which contain the cause."""
    return shortened(": ".join(message.split(": ")[-2:]), 200)


def _one_line(text: str) -> str:
    return " ".join(text.split())
