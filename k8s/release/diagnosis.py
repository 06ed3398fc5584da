"""Why a pod does not run, or its Job makes none: one sentence each, with what mends it.

Pure functions of what the API server says; the sentences begin where "chief: " or "worker 3: " ends.
"""

import re
from collections.abc import Sequence

from k8s.cluster.objects import ContainerStatus, Deployment, Event, Job, Pod, Terminated, Waiting
from tuner import names
from tuner.errors import ExitCode

_OUT_OF_MEMORY = "OOMKilled"

_EXIT_CODES = {
    ExitCode.INTERNAL: "an internal error of cifake-tune",
    ExitCode.USAGE: "wrong settings, which another try will not mend",
    ExitCode.ENVIRONMENT: "the bucket or the chief failed; it is tried again",
    ExitCode.NO_RESULT: "the search ended without a usable trial",
    ExitCode.FENCED: "a newer chief has taken over",
    ExitCode.PREEMPTED: "it was asked to stop and handed its trial back",
    137: "killed by the node (SIGKILL): out of memory, or its time to stop was over",
    139: "it crashed (SIGSEGV) in a library",
}


def pod_trouble(pod: Pod, events: Sequence[Event] = (), last_line: str = "") -> str | None:
    """Return why a pod does not do its work; None where it does, or has done it.

    `events`: those about it. `last_line`: the last one that it has written, for one that failed.
    """
    about = [event for event in events if event.involved_object.uid == pod.metadata.uid]
    disruption = pod.condition("DisruptionTarget")
    if pod.status.phase == "Succeeded":
        return None
    if pod.status.reason or (disruption and disruption.status == "True"):
        return _disrupted(pod, disruption.reason if disruption else "", disruption.message if disruption else "")
    if pod.metadata.deletion_timestamp and pod.status.phase != "Failed":
        return None if pod.status.phase == "Running" else "is being deleted"
    for container in pod.containers():
        if trouble := _container_trouble(pod, container, about, last_line):
            return trouble
    return _pending(pod, about) if pod.status.phase == "Pending" else None


def job_trouble(job: Job, events: Sequence[Event] = ()) -> str | None:
    """Return why a Job has failed, or makes no pods."""
    if failed := job.condition("Failed"):
        return f"the Job {job.name} has failed: {_failed(failed.reason, failed.message)}"
    queue = job.metadata.labels.get(names.LABEL_QUEUE)
    if job.spec.suspend and queue:
        return f"waits in Kueue's queue {queue}: kubectl get workloads says how far ahead others are"
    refused = [e for e in events if e.involved_object.uid == job.metadata.uid and e.reason == "FailedCreate"]
    wanted = min(job.spec.parallelism, job.spec.completions or job.spec.parallelism) - job.status.succeeded
    if refused and not job.condition("Complete") and job.status.active < wanted:
        return f"no pod can be made: {not_created(_newest(refused).message)}"
    return None


def deployment_trouble(deployment: Deployment) -> str | None:
    """Return why a Deployment makes no pods."""
    for condition in deployment.status.conditions:
        if condition.type == "ReplicaFailure" and condition.status == "True":
            return f"no pod can be made: {not_created(condition.message)}"
    return None


def exit_code_meaning(code: int) -> str:
    """Return what an exit code means, of cifake-tune or of the kernel."""
    if code in _EXIT_CODES:
        return _EXIT_CODES[code]
    return f"killed by signal {code - 128}" if 128 < code < 165 else "not one of cifake-tune's"


# ---- scheduling -----------------------------------------------------------------------------------
def _unscheduled(pod: Pod, message: str) -> str:
    """Put the scheduler's message in words: `0/2 nodes are available: 2 Insufficient nvidia.com/gpu. preemption: …`."""
    found = re.match(
        r"0/(\d+) nodes are available: (.*?)(?:\. (?:no new claims|preemption:)|\.? not found$|\.?$)", message
    )
    if not found:
        return message or "no node takes it"
    total, text = int(found[1]), found[2]
    reasons = [part.strip() for part in re.split(r", (?=\d+ )", text)]
    told = [_no_node(pod, reason, total) for reason in reasons]
    return "; ".join(dict.fromkeys(told))


def _no_node(pod: Pod, reason: str, total: int) -> str:
    """Put one of the scheduler's reasons in words: `2 Insufficient nvidia.com/gpu`."""
    counted = re.match(r"(\d+) (.*)", reason)
    count, what = (int(counted[1]), counted[2]) if counted else (total, reason)
    one = count == 1
    wanted = ", ".join(f"{key}={value}" for key, value in pod.spec.node_selector.items())
    words = {
        "nodes": f"{count} of {total} nodes",
        "have": "has" if one else "have",
        "do": "does" if one else "do",
        "asked": pod.spec.asks_for(names.GPU_RESOURCE),
        "place": f"nodeSelector {wanted}" if wanted else "node affinity",
        "claims": ", ".join(pod.spec.claims()),
    }
    for pattern, sentence in _NO_NODE:
        if found := re.search(pattern, what):
            return sentence.format(*found.groups(), **words)
    return f"{words['nodes']}: {what}"


_NO_NODE = [
    (
        f"Insufficient {re.escape(names.GPU_RESOURCE)}",
        f"{{nodes}} {{have}} fewer than {{asked}} free {names.GPU_RESOURCE}; ask for fewer "
        "(workers.gpus), or add GPU nodes",
    ),
    (
        r"Insufficient (\S+)",
        "{nodes} {have} too little free {0} for what it requests; lower resources.requests, or add nodes",
    ),
    (
        r"taint \{(.+?)\}",
        "{nodes} {have} the taint {0}, which it does not tolerate; add it to tolerations, or remove it",
    ),
    (r"taint", "{nodes} {have} a taint that it does not tolerate; add it to tolerations, or remove it"),
    (r"affinity|selector", "{nodes} {do} not match its {place}; correct it, or label them"),
    (r"unschedulable", "{nodes} {have} been cordoned; kubectl uncordon NODE lets pods in again"),
    (r'persistentvolumeclaim "(.+?)" not found', "there is no PersistentVolumeClaim {0}; helm upgrade makes it again"),
    (r"unbound", "its volume {claims} is not bound; kubectl describe pvc says why (is there such a StorageClass?)"),
    (r"(volume.*)", "{nodes} cannot reach its volume ({0}); kubectl describe pvc says where it lies"),
]
"""What the scheduler says, and what that means; the first that fits."""


def _pending(pod: Pod, about: Sequence[Event]) -> str | None:
    scheduled = pod.condition("PodScheduled")
    if scheduled is None:
        return "is pending: the scheduler has not looked at it yet"
    return f"is pending: {_unscheduled(pod, scheduled.message)}" if scheduled.status == "False" else _not_set_up(about)


# ---- containers -----------------------------------------------------------------------------------
def _container_trouble(pod: Pod, container: ContainerStatus, events: Sequence[Event], last_line: str) -> str | None:
    state = container.state
    if state.waiting:
        return _waiting_trouble(pod, container, state.waiting, events, last_line)
    if state.terminated and (state.terminated.exit_code or state.terminated.reason == _OUT_OF_MEMORY):
        return _terminated_trouble(pod, container.name, state.terminated, last_line)
    return None


def _waiting_trouble(
    pod: Pod, container: ContainerStatus, waiting: Waiting, events: Sequence[Event], last_line: str
) -> str | None:
    said = _one_line(waiting.message)
    match waiting.reason:
        case "ContainerCreating" | "PodInitializing":
            sentence = _not_set_up(events)
        case "CrashLoopBackOff":
            last = container.last_state.terminated
            why = _terminated_trouble(pod, container.name, last, last_line) if last else None
            sentence = f"{why or 'its container ends again and again'}; started {container.restart_count} times again"
        case "ErrImagePull" | "ImagePullBackOff":
            sentence = f"the image {container.image} cannot be pulled: {_registrys_word(waiting.message, events)}"
        case "InvalidImageName":
            sentence = f"the image name {container.image!r} is not valid; correct image.repository and image.tag"
        case "ErrImageNeverPull":
            sentence = f"the node does not have the image {container.image}, and image.pullPolicy is Never; change that"
        case "CreateContainerConfigError":
            sentence = f"its container cannot be made: {said}; make it, or correct the value that names it"
        case _:
            sentence = f"its container cannot be started: {waiting.reason} {said}".rstrip()
    return sentence


def _terminated_trouble(pod: Pod, name: str, ended: Terminated, last_line: str) -> str:
    if ended.reason == _OUT_OF_MEMORY:
        limit = next((c.resources.limits.get("memory") for c in pod.spec.containers if c.name == name), None)
        at = f"at its memory limit of {limit}" if limit else "because its node had no memory left"
        return f"was killed {at} (OOMKilled); raise resources.limits.memory, or train smaller models or batches"
    if ended.reason in ("StartError", "ContainerCannotRun"):
        return f"its container cannot be started: {_one_line(ended.message).rpartition('container process: ')[2]}"
    said = f"; its last line: {_one_line(last_line)}" if last_line else ""
    return f"ended with exit code {ended.exit_code} ({exit_code_meaning(ended.exit_code)}){said}"


def _registrys_word(message: str, events: Sequence[Event]) -> str:
    """Return what the registry said, and what to do about it."""
    pulls = [event.message for event in events if event.message.startswith("Failed to pull image")]
    said = _one_line(message if ": " in message else pulls[-1] if pulls else message)
    low = said.lower()
    if any(word in low for word in ("unauthorized", "denied", "forbidden", "401", "403", "authentication")):
        return (
            f"the registry refuses ({_tail(said)}); set imagePullSecrets, or give the nodes' account the right to read"
        )
    if "not found" in low or "manifest unknown" in low:
        return "the registry has no such image; correct image.repository and image.tag, or push it"
    if any(word in low for word in ("no such host", "dial tcp", "timeout", "connection refused", "i/o")):
        return f"the registry does not answer ({_tail(said)}); correct image.repository, or the nodes' way to it"
    if "toomanyrequests" in low:
        return f"the registry lets no more pulls through ({_tail(said)}); wait, or set imagePullSecrets"
    return _tail(said) or "the node does not say why"


def _not_set_up(events: Sequence[Event]) -> str | None:
    """Return why a pod that has a node is not set up there; None where nothing is said to be wrong."""
    wrong = [e for e in events if e.reason in ("FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox")]
    if not wrong:
        return None
    said = _one_line(_newest(wrong).message)
    if found := re.search(r'(secret|configmap) "(.+?)" not found', said):
        kind = {"secret": "Secret", "configmap": "ConfigMap"}[found[1]]
        return f"cannot start: there is no {kind} {found[2]} to mount; make it, or correct the value that names it"
    return f"cannot start: {said[:300]}"


# ---- ends that others decided, and pods that were never made --------------------------------------
_DISRUPTIONS = {
    "PreemptionByScheduler": "was preempted by a pod of higher priority",
    "DeletionByTaintManager": "was deleted because its node is not ready or was tainted",
    "EvictionByEvictionAPI": "was evicted: its node is drained, or somebody asked for it",
    "TerminationByKubelet": "was ended by its node",
    "DeletionByPodGC": "was lost with its node",
}


def _disrupted(pod: Pod, reason: str, message: str) -> str:
    said = pod.status.message or (message if reason == "TerminationByKubelet" else "")
    if pod.status.reason == "Evicted" or (reason == "TerminationByKubelet" and said):
        return f"was evicted by its node: {_one_line(said).rstrip('.')}"
    if reason in _DISRUPTIONS:
        return _DISRUPTIONS[reason]
    return f"{pod.status.reason or reason}: {_one_line(said or message)}".rstrip(": ")


def _failed(reason: str, message: str) -> str:
    if found := re.search(r"failed with exit code (\d+)", message):
        code = int(found[1])
        return f"exit code {code} ({exit_code_meaning(code)}); helm upgrade with what mends it makes a new one"
    if reason in ("BackoffLimitExceeded", "FailedIndexes"):
        return "its pods failed too often; helm upgrade with what mends it makes a new one"
    return f"{message or reason}".rstrip(".")


def not_created(message: str) -> str:
    """Return why the API server refused to make a pod."""
    said = _one_line(message)
    if found := re.search(r"exceeded quota: (\S+), requested: (\S+?), used: (\S+?), limited: (\S+)", said):
        resource, requested = found[2].split("=")[0], found[2].split("=")[-1]
        used, limited = found[3].split("=")[-1], found[4].split("=")[-1]
        return (
            f"the quota {found[1]} allows {limited} {resource}, {used} are used and it asks for {requested} more; ask "
            "for less (workers.replicas, workers.gpus, resources), or have the quota raised"
        )
    if found := re.search(r"failed quota: (\S+): must specify (.*)", said):
        return f"the quota {found[1]} demands that every container says {found[2]}; set it in resources"
    if found := re.search(r'violates PodSecurity "([^"]+)": (.*)', said):
        return f"the namespace enforces the pod security standard {found[1].split(':')[0]}: {found[2][:200]}"
    if found := re.search(r'serviceaccount "?([\w.-]+)"? not found', said):
        return f"there is no ServiceAccount {found[1]}; helm upgrade makes it again"
    if found := re.search(r"no PriorityClass with name (\S+) was found", said):
        return f"there is no PriorityClass {found[1]}; correct priorityClassName, or have it made"
    return said.removeprefix("Error creating: ")


def _newest(events: Sequence[Event]) -> Event:
    return max(events, key=lambda e: str(e.last_timestamp or e.event_time or e.metadata.creation_timestamp or ""))


def _tail(said: str) -> str:
    """The last parts of a chain of errors, which say what happened."""
    return ": ".join(said.split(": ")[-2:])[:200]


def _one_line(text: str) -> str:
    return " ".join(text.split())
