"""What `status` and `doctor` count are the devices that the workers request: whole GPUs, parts of them, or claims."""

import io
import json
from collections.abc import Sequence
from typing import Any

import pytest

from k8s.cluster.gpus import CLAIMS, GpuRequest, requested_gpus
from k8s.cluster.objects import Container, Deployment, Event, Job, Pod
from k8s.cluster.resources import Node
from k8s.doctor import local_checks
from k8s.doctor.findings import Finding, Severity
from k8s.doctor.nodes import check_nodes
from k8s.doctor.probe import _manifest
from k8s.doctor.requirements import of_flags, of_objects
from k8s.release.diagnosis import pod_problem
from k8s.release.release import Release
from k8s.release.status import ReleaseView, trains_on_cpu, view_release
from k8s.release.terminal import release_view
from tests.k8s import captured
from tests.k8s.doctor.test_nodes import Nodes
from tests.k8s.release.test_diagnosis import unschedulable
from tests.k8s.release.test_lost_nodes import status
from tests.support.command_line import run_in_process
from tuner import names
from tuner.errors import ExitCode
from tuner.report.terminal.console import make_console

MIG = "nvidia.com/mig-1g.10gb"
AMD = "amd.com/gpu"
CUDA = "with CUDA's libraries (make image LOCK=cuda), or set workers.gpus=0"


def release(resource: str = names.GPU_RESOURCE, claims: Sequence[str] = ()) -> Release:
    """Return the captured release as the chart renders it for another resource, or with resource claims."""
    parts = json.loads((captured.FOLDER / "release.json").read_text(encoding="utf-8"))
    specs = [job["spec"]["template"]["spec"] for job in parts["jobs"]] + [pod["spec"] for pod in parts["pods"]]
    for container in (c for spec in specs for c in spec["containers"] if c["name"] == "worker"):
        limits = container["resources"]["limits"]
        count = limits.pop(names.GPU_RESOURCE)
        if not claims:
            limits[resource] = count
        if resource != names.GPU_RESOURCE:
            container["env"].append({"name": names.ENV_GPU_RESOURCE, "value": resource})
    for spec in specs:
        if claims and any(c["name"] == "worker" for c in spec["containers"]):
            spec["resourceClaims"] = [{"name": name, "resourceClaimTemplateName": name} for name in claims]

    def of_kind(kind: type[Any]) -> list[Any]:
        return [kind.model_validate(part) for part in parts[f"{kind.__name__.lower()}s"]]

    cluster: Any = Nodes()
    return Release("night", cluster, of_kind(Job), of_kind(Deployment), of_kind(Pod), of_kind(Event))


def view(resource: str = names.GPU_RESOURCE, claims: Sequence[str] = ()) -> ReleaseView:
    return view_release(release(resource, claims), {}, [])


def offering(name: str, *taints: dict[str, str], **counts: int) -> Node:
    resources = {"gpu": names.GPU_RESOURCE, "mig": MIG, "amd": AMD, "rdma": "rdma/hca"}
    node_status = {
        "allocatable": {"cpu": "8"} | {resources[key]: str(count) for key, count in counts.items()},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    return Node.model_validate({"metadata": {"name": name}, "spec": {"taints": list(taints)}, "status": node_status})


def finding(*nodes: Node, resource: str = MIG, gpus: int = 1) -> Finding:
    cluster: Any = Nodes(*nodes)
    (found,) = check_nodes(cluster, of_flags("image", 2, gpus, "gs://b", resource), None)
    return found


@pytest.mark.parametrize("resource", [names.GPU_RESOURCE, MIG, AMD])
def test_status_names_the_resource_that_a_worker_requests(resource: str) -> None:
    result = view(resource)
    assert [(worker.gpus, worker.gpu_resource) for worker in result.workers] == [("3", resource)] * 3
    assert {(c.gpus, c.gpu_resource) for c in result.components} == {("0", "")}


def test_status_counts_the_claims_of_a_worker() -> None:
    assert [(worker.gpus, worker.gpu_resource) for worker in view(claims=("a", "b")).workers] == [("2", CLAIMS)] * 3


@pytest.mark.parametrize(
    ("resource", "heading"), [(names.GPU_RESOURCE, "GPUs"), (MIG, "mig-1g.10gb"), (AMD, "amd.com/gpu")]
)
def test_the_table_is_headed_by_the_resource_and_fits_a_terminal(resource: str, heading: str) -> None:
    console = make_console()
    console.file, console.width = io.StringIO(), 80
    console.print(release_view(view(resource)))
    lines = console.file.getvalue().splitlines()
    assert any(heading in line.split() for line in lines)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("request_", "found", "remedy"),
    [
        (GpuRequest(1, MIG), f"1 {MIG} and finds none", CUDA),
        (GpuRequest(2, AMD), "2 amd.com/gpu and finds none", "for these GPUs, or set workers.gpus=0"),
        (
            GpuRequest(1, CLAIMS),
            "1 resource claim and finds no GPU",
            "for these GPUs, or remove workers.resourceClaims",
        ),
    ],
)
def test_a_worker_that_trains_on_the_cpu_is_told_what_it_requested(
    request_: GpuRequest, found: str, remedy: str
) -> None:
    assert trains_on_cpu(request_) == (
        f"requested {found}, so it trains on the CPU and its GPUs are idle; build an image {remedy}"
    )


def test_a_worker_with_a_part_of_a_gpu_that_it_does_not_find_is_a_risk_in_status() -> None:
    work = status("worker-0", 1, gpus=0)
    result = view_release(release(MIG), {}, [work])
    assert f"requested 3 {MIG} and finds none" in (result.workers[0].risk or "")
    assert f"1 {CLAIMS}" not in (result.workers[0].risk or "")
    claimed = view_release(release(claims=("gpu",)), {}, [work])
    assert "requested 1 resource claim and finds no GPU" in (claimed.workers[0].risk or "")


@pytest.mark.parametrize(("resource", "key"), [(MIG, "mig"), (AMD, "amd")])
def test_doctor_counts_the_resource_that_is_requested(resource: str, key: str) -> None:
    nodes = [offering("a", gpu=8, **{key: 3}), offering("b", **{key: 1})]
    assert finding(*nodes, resource=resource).what == (
        f"4 {resource} are free on 2 nodes, which is enough for 4 workers with 1 each; the release has 2"
    )
    assert finding(*nodes, resource=resource, gpus=3).severity is Severity.WARNING  # enough for one of two workers


def test_doctor_counts_what_other_pods_hold_of_that_resource_only() -> None:
    pods = [pod for pod in release(MIG).pods if pod.spec.node_name]
    cluster: Any = Nodes(offering("node-1", mig=4, gpu=4), offering("node-2", mig=4, gpu=4), pods=pods)
    for resource, free in ((MIG, 2), (names.GPU_RESOURCE, 8)):
        (found,) = check_nodes(cluster, of_flags("image", 1, 1, "gs://b", resource), None)
        assert found.what.startswith(f"{free} {resource} are free on 2 nodes")


def test_doctor_names_the_resources_that_nodes_offer_instead() -> None:
    result = finding(offering("a", gpu=8, rdma=1), offering("b", amd=2))
    assert result.severity is Severity.BROKEN
    assert result.what == (
        f"workers request 1 {MIG} each, but no node that accepts workers has more than 0; these nodes offer "
        "amd.com/gpu, nvidia.com/gpu"
    )
    assert result.fix.startswith("Set workers.gpuResource=amd.com/gpu or workers.gpus=0, or add larger nodes")
    assert finding(offering("a", rdma=1)).fix.startswith(f"Install the device plugin that offers {MIG}, or set")


@pytest.mark.parametrize(("resource", "taint"), [(MIG, names.GPU_RESOURCE), (AMD, AMD)])
def test_the_taint_of_gpu_nodes_is_tolerated(resource: str, taint: str) -> None:
    nodes = offering("a", {"key": taint, "value": "present", "effect": "NoSchedule"}, mig=2, amd=2)
    assert finding(nodes, resource=resource).severity is Severity.FINE


def test_doctor_says_that_claimed_devices_are_not_counted() -> None:
    claiming = release(claims=("gpu",))
    cluster: Any = Nodes(offering("a", gpu=8))
    (found,) = check_nodes(cluster, of_objects(claiming.jobs, [], []), claiming)
    assert found.what == (
        "1 node accepts workers, which claim their devices (1 resource claim each), which are not counted"
    )


def test_a_pod_that_waits_for_a_part_of_a_gpu_is_told_the_value_to_change() -> None:
    message = f"0/2 nodes are available: 2 Insufficient {MIG}. no new claims to deallocate"
    pod = unschedulable(message)
    container = Container.model_validate(
        {"name": "worker", "env": [{"name": names.ENV_GPU_RESOURCE, "value": MIG}], "resources": {"limits": {MIG: 2}}}
    )
    pod = pod.model_copy(update={"spec": pod.spec.model_copy(update={"containers": [container]})})
    assert requested_gpus(pod.spec) == GpuRequest(2, MIG)
    assert pod_problem(pod) == (
        f"is pending: 2 of 2 nodes have fewer than 2 free {MIG}; request fewer (workers.gpus), or add GPU nodes"
    )


def test_a_pod_whose_claims_no_node_can_fulfil_is_told_so() -> None:
    problem = pod_problem(unschedulable("0/2 nodes are available: 2 cannot allocate all claims. preemption: 0/2"))
    assert problem == (
        "is pending: 2 of 2 nodes have no free device for the pod's resource claims; request fewer "
        "(workers.resourceClaims), or add nodes with such devices"
    )


def test_the_probe_checks_for_cuda_only_if_gpus_of_nvidia_are_requested() -> None:
    def arguments(resource: str) -> list[str]:
        manifest = _manifest("probe", of_flags("image", 1, 2, "gs://b", resource), None)
        return list(manifest["spec"]["containers"][0]["args"])

    assert arguments(MIG)[-4:] == ["--gpus", "2", "--gpu-resource", MIG]
    assert arguments(names.GPU_RESOURCE)[-2:] == ["--gpus", "2"]
    assert "--gpus" not in arguments(AMD)


def test_an_image_without_cuda_is_told_with_the_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_checks, "distributions", lambda: [])
    monkeypatch.setattr(local_checks, "find_library", lambda _: None)
    (found,) = local_checks.check_cuda(1, MIG)
    assert found.what.startswith(f"workers request 1 {MIG} each, but the image has no CUDA libraries")


def test_a_resource_without_a_number_of_gpus_is_refused() -> None:
    done = run_in_process("doctor", "--namespace", "x", "--gpu-resource", MIG)
    assert done.code == ExitCode.USAGE
    assert "--gpu-resource has no effect without --gpus" in done.err
