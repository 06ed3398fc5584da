"""What `status --release` shows, of a release as a real cluster had it."""

import io
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from k8s.cluster.client import Cluster
from k8s.cluster.objects import Container, Deployment, Event, Job, Pod
from k8s.doctor.cluster_checks import check_namespace
from k8s.doctor.findings import Severity
from k8s.doctor.requirements import of_objects
from k8s.release.release import Release
from k8s.release.status import ReleaseView, State, namespace_problem, view_release
from k8s.release.terminal import release_view
from tests.k8s import captured
from tests.support.api_server import cluster_at, running_api_server
from tuner import names
from tuner.report.terminal.console import make_console
from tuner.study.status import WorkerStatus


@pytest.fixture
def release() -> Release:
    from kubernetes import client

    return Release(
        name="night",
        cluster=Cluster(client.Configuration(), "kube-demo"),
        jobs=captured.release_parts(Job),
        deployments=captured.release_parts(Deployment),
        pods=captured.release_parts(Pod),
        events=captured.release_parts(Event),
    )


@pytest.fixture
def view(release: Release) -> ReleaseView:
    work = [
        WorkerStatus(
            worker="worker-0",
            trial="00003",
            attempt=1,
            epoch=2,
            progress=0.5,
            images_per_s=1234.0,
            silent_s=0.4,
            gpus=3,
            device="3 x NVIDIA H200",
        ),
        WorkerStatus(worker="worker-2", trial=None, attempt=0, epoch=0, progress=0.0, images_per_s=0.0, silent_s=61.0),
    ]
    return view_release(release, {}, work)


def rendered(view: ReleaseView, width: int) -> str:
    console = make_console()
    console.file, console.width = io.StringIO(), width
    console.print(release_view(view))
    return console.file.getvalue()


def test_workers_of_a_study_with_its_own_data_have_samples_per_second(view: ReleaseView) -> None:
    assert "images/s" in rendered(view, 200)
    console = make_console()
    console.file, console.width = io.StringIO(), 200
    console.print(release_view(view, "samples"))
    assert "samples/s" in console.file.getvalue()


def test_the_settings_of_a_release_are_read_from_its_objects(release: Release) -> None:
    assert release.bucket_url == "gs://cifake-tune"
    assert release.emulator_port == 4443
    assert release.chief_port == 8000
    assert release.chief_host == "night-cifake-tune-chief"
    assert release.tls_secret == "night-cifake-tune-tls"


def test_every_worker_that_there_should_be_has_a_line_with_its_pod_and_what_it_is_at(view: ReleaseView) -> None:
    assert [worker.index for worker in view.workers] == [0, 1, 2]
    assert [worker.state for worker in view.workers] == [State.RUNNING, State.STARTING, State.RUNNING]
    assert [worker.node for worker in view.workers] == ["node-2", None, "node-1"]
    assert [worker.gpus for worker in view.workers] == ["3", "3", "3"]
    assert [worker.work.trial if worker.work else None for worker in view.workers] == ["00003", None, None]


def test_the_worker_that_waits_for_gpus_says_why(view: ReleaseView) -> None:
    assert view.broken
    assert [bool(worker.trouble) for worker in view.workers] == [False, True, False]
    assert "2 of 2 nodes have fewer than 3 free nvidia.com/gpu" in (view.workers[1].trouble or "")


def test_the_other_components_have_their_states(view: ReleaseView) -> None:
    states = {component.component: component.state for component in view.components}
    assert states == {
        "chief": State.RUNNING,
        "evaluator": State.WAITING,
        "data": State.DONE,
        "bucket": State.RUNNING,
    }


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_view_fits_a_terminal(view: ReleaseView, width: int) -> None:
    text = rendered(view, width)
    assert max(map(len, text.splitlines())) <= width
    for part in ("00003", "3  50%", "1,234", "idle", "61 s ago", "node-1"):
        assert part in text
    assert "3 x" in text
    assert "H200" in text
    assert "worker 1: is pending: 2 of 2 nodes have fewer than 3 free nvidia.com/gpu" in " ".join(text.split())


def test_each_process_of_a_worker_with_several_has_a_row(release: Release) -> None:
    idle = {"trial": None, "attempt": 0, "epoch": 0, "progress": 0.0, "images_per_s": 0.0}
    work = [
        WorkerStatus(
            worker="worker-0-0", trial="00003", attempt=1, epoch=2, progress=0.5, images_per_s=1234.0, silent_s=0.4,
            gpus=1, device="GPU 0",
        ),
        WorkerStatus(**idle, worker="worker-0-1", silent_s=2, gpus=1, problem="the bucket is not available."),
        WorkerStatus(**idle, worker="worker-00-1", silent_s=2),
    ]  # fmt: skip
    view = view_release(release, {}, work)
    assert [each.worker for each in view.workers[0].processes] == ["worker-0-0", "worker-0-1"]
    assert view.workers[2].processes == []
    assert view.workers[0].trouble == "waits: the bucket is not available"
    rows = [line.split()[0] for line in rendered(view, 200).splitlines() if line.strip()]
    assert [row for row in rows if row in {"0", "0-0", "0-1", "1", "2"}] == ["0-0", "0-1", "1", "2"]


def test_what_is_wrong_with_many_workers_is_said_once(view: ReleaseView) -> None:
    trouble = view.workers[1].trouble
    workers = [worker.model_copy(update={"trouble": trouble}) for worker in view.workers]
    text = " ".join(rendered(view.model_copy(update={"workers": workers}), 100).split())
    assert text.count("is pending") == 1
    assert "workers 0, 1, 2: is pending" in text


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_names_of_pods_are_whole_at_every_width(view: ReleaseView, width: int) -> None:
    lines = rendered(view, width).splitlines()
    for component in [*view.components, *view.workers]:
        assert component.pod is None or any(component.pod in line for line in lines)


def test_a_worker_without_a_pod_shows_the_gpus_that_it_requests(release: Release) -> None:
    without = [pod for pod in release.pods if pod.index != 1]
    view = view_release(replace(release, pods=without), {}, [])
    assert [(worker.state, worker.gpus) for worker in view.workers][1] == (State.WAITING, "3")


def in_queue(release: Release, **spec: object) -> Release:
    """Return the release with its workers' Job in a queue, and without the pod of worker 2."""
    jobs = []
    for job in release.jobs:
        content = job.model_dump(by_alias=True)
        if job.component == "worker":
            content["metadata"]["labels"][names.LABEL_QUEUE] = "gpus"
            content["spec"] |= spec
        jobs.append(Job.model_validate(content))
    return replace(release, jobs=jobs, pods=[pod for pod in release.pods if pod.index != 2])


def test_a_worker_for_which_kueues_quota_was_not_enough_is_named_and_nothing_is_broken_by_it(release: Release) -> None:
    worker = view_release(in_queue(release, parallelism=2, completions=3), {}, []).workers[2]
    assert (worker.state, worker.trouble) == (State.WAITING, None)
    assert worker.risk == (
        "has no pod, because the quota of Kueue's queue gpus was enough for 2 of 3 workers; the others train all trials"
    )
    for spec in ({"parallelism": 3}, {"parallelism": 2, "suspend": True}):  # its pod is to come; all of them wait
        assert view_release(in_queue(release, **spec), {}, []).workers[2].risk is None


def test_the_gpus_of_a_pod_are_those_of_any_container(release: Release) -> None:
    (pod,) = [pod for pod in release.pods if pod.index == 0]
    proxy = Container(name="istio-proxy")  # some meshes inject it as the first container
    spec = pod.spec.model_copy(update={"containers": [proxy, *pod.spec.containers]})
    assert spec.requested("nvidia.com/gpu") == "3"


def test_the_settings_are_those_of_the_main_container_wherever_a_sidecar_stands(release: Release) -> None:
    jobs = []
    for job in release.jobs:
        content = job.model_dump(by_alias=True)
        content["spec"]["template"]["spec"]["containers"].insert(0, {"name": "proxy", "image": "mesh/proxy"})
        jobs.append(Job.model_validate(content))
    meshed = replace(release, jobs=jobs)
    assert (meshed.bucket_url, meshed.chief_port) == (release.bucket_url, release.chief_port)
    assert of_objects(jobs, release.deployments, []).image == of_objects(release.jobs, release.deployments, []).image


def test_a_worker_whose_image_is_pulled_is_not_starting(release: Release) -> None:
    (pod,) = [pod for pod in release.pods if pod.index == 0]
    status = {"name": "worker", "state": {"waiting": {"reason": "ContainerCreating"}}}
    content = pod.model_dump(by_alias=True) | {"status": {"phase": "Pending", "containerStatuses": [status]}}
    content["status"]["conditions"] = [{"type": "PodScheduled", "status": "True"}]
    pulling = Event.model_validate(
        {"involvedObject": {"uid": pod.metadata.uid}, "reason": "Pulling", "message": 'Pulling image "i"'}
    )
    others = [other for other in release.pods if other.index != 0]
    view = view_release(replace(release, pods=[*others, Pod.model_validate(content)], events=[pulling]), {}, [])
    assert view.workers[0].state is State.PULLING
    assert "pulling" in rendered(view, 80)


def failed_chief(release: Release, number: int, exit_code: int) -> Pod:
    (chief,) = [pod for pod in release.pods if pod.component == "chief"]
    ended = {"name": "chief", "state": {"terminated": {"exitCode": exit_code, "reason": "Error"}}}
    content = chief.model_dump(by_alias=True)
    content["metadata"] |= {"name": f"chief-{number}", "uid": str(number)}
    return Pod.model_validate(content | {"status": {"phase": "Failed", "containerStatuses": [ended]}})


@pytest.mark.parametrize(
    ("codes", "is_ready", "is_broken"),
    [((2, 2), False, True), ((2,), False, True), ((2, 3), False, False), ((2, 2), True, False), ((3, 3), False, False)],
)
def test_a_chief_that_keeps_exiting_2_is_broken_also_while_the_next_one_starts(
    release: Release, codes: tuple[int, ...], is_ready: bool, is_broken: bool
) -> None:
    (chief,) = [pod for pod in release.pods if pod.component == "chief"]
    content = chief.model_dump(by_alias=True)
    if not is_ready:
        content["status"]["conditions"] = [c for c in content["status"]["conditions"] if c["type"] != "Ready"]
    failed = [failed_chief(release, number, code) for number, code in enumerate(codes)]
    others = [pod for pod in release.pods if pod.component != "chief"]
    lines = {pod.name: "error: search.max_trials must be at least 1, got 0." for pod in failed}
    view = view_release(replace(release, pods=[*others, *failed, Pod.model_validate(content)]), lines, [])
    trouble = view.components[0].trouble or ""
    assert bool(trouble) is is_broken
    if is_broken:
        assert trouble.startswith("fails repeatedly: ")
        assert "exit code 2 (an error that a retry does not fix" in trouble
        assert "search.max_trials must be at least 1" in trouble
        assert trouble.endswith("fix the cause, and run helm upgrade")
    else:
        assert view.components[0].earlier


def test_a_bucket_without_a_volume_is_a_risk_and_one_with_a_volume_is_none(release: Release) -> None:
    (deployment,) = release.deployments
    without = deployment.model_dump(by_alias=True)
    volumes = without["spec"]["template"]["spec"]["volumes"]
    without["spec"]["template"]["spec"]["volumes"] = [v for v in volumes if not v["persistentVolumeClaim"]]
    view = view_release(replace(release, deployments=[Deployment.model_validate(without)]), {}, [])
    assert "bucket: is lost with its pod" in " ".join(rendered(view, 100).split())
    assert [component.risk for component in view_release(release, {}, []).components] == [None] * 4


def test_the_job_that_makes_the_certificates_is_shown_until_it_has_made_them(release: Release) -> None:
    data = release.job("data")
    assert data is not None
    document = json.loads(data.model_dump_json(by_alias=True).replace('"data"', '"tls"'))
    made = Job.model_validate(document)
    document["status"] = {
        "failed": 7,
        "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}],
    }
    failed = Job.model_validate(document)
    for job, states in ((made, []), (failed, [State.FAILED])):
        shown = view_release(replace(release, jobs=[*release.jobs, job]), {}, []).components
        assert [component.state for component in shown if component.component == "tls"] == states


@pytest.mark.parametrize(("conditions", "is_problem"), [([], False), ([{"type": "Failed", "status": "True"}], True)])
def test_a_pod_may_wait_for_the_certificates_as_long_as_their_job_can_make_them(
    release: Release, conditions: list[dict[str, str]], is_problem: bool
) -> None:
    data, waiting = release.job("data"), next(pod for pod in release.pods_of("worker") if pod.status.phase == "Running")
    assert data is not None
    job = json.loads(data.model_dump_json(by_alias=True).replace('"data"', '"tls"')) | {
        "status": {"conditions": conditions}
    }
    pod = json.loads(waiting.model_dump_json(by_alias=True))
    pod["status"] = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]}
    event = {
        "reason": "FailedMount",
        "type": "Warning",
        "message": 'MountVolume.SetUp failed for volume "tls" : secret "night-cifake-tune-tls" not found',
        "involvedObject": {"kind": "Pod", "name": waiting.name, "uid": waiting.metadata.uid},
        "metadata": {"name": "mount", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }
    changed = replace(
        release,
        jobs=[*release.jobs, Job.model_validate(job)],
        pods=[Pod.model_validate(pod) if one.name == waiting.name else one for one in release.pods],
        events=[Event.model_validate(event)],
    )
    row = next(worker for worker in view_release(changed, {}, []).workers if worker.pod == waiting.name)
    assert bool(row.trouble) is is_problem, row.trouble


def test_the_jobs_that_an_uninstall_has_left_are_not_taken_for_a_release_with_a_bucket_outside(
    release: Release,
) -> None:
    view = view_release(replace(release, deployments=[]), {}, [])
    (bucket,) = [component for component in view.components if component.component == "bucket"]
    assert bucket.state is State.FAILED
    assert "the release was uninstalled" in (bucket.trouble or "")
    assert f"kubectl delete jobs -n kube-demo -l {names.LABEL_RELEASE}=night" in (bucket.trouble or "")


def test_a_second_job_of_a_component_is_reported_with_its_remedy(release: Release) -> None:
    job = release.job("chief")
    assert job
    metadata = job.metadata.model_copy(
        update={"name": "night-cifake-tune-chief-00000000", "creation_timestamp": "2020-01-01T00:00:00Z"}
    )
    older = job.model_copy(update={"metadata": metadata, "status": job.status.model_copy(update={"active": 1})})
    view = view_release(replace(release, jobs=[older, *release.jobs]), {}, [])
    assert [c.component for c in view.components if "earlier Job" in (c.risk or "")] == ["chief"]
    assert "run kubectl delete job night-cifake-tune-chief-00000000" in rendered(view, 400)
    ended = older.model_copy(update={"status": older.status.model_copy(update={"active": 0})})
    view = view_release(replace(release, jobs=[ended, *release.jobs]), {}, [])
    assert "earlier Job" not in rendered(view, 400)


def test_a_namespace_that_is_being_deleted_is_broken(release: Release) -> None:
    view = view_release(replace(release, deleted=datetime(2026, 11, 29, 3, 4, 5, tzinfo=UTC)), {}, [])
    assert view.broken
    assert "the namespace kube-demo has been in deletion since 03:04:05 UTC" in rendered(view, 400)
    assert "kubectl delete jobs --all -n kube-demo" in rendered(view, 400)


def test_doctor_and_status_say_the_same_of_a_namespace_that_is_being_deleted() -> None:
    since = datetime(2026, 11, 29, 3, 4, 5, tzinfo=UTC)
    metadata = {"name": "lab", "deletionTimestamp": since.isoformat()}
    with running_api_server({"namespaces/lab": {"metadata": metadata}}) as api:
        (finding,) = check_namespace(cluster_at(api.url, "lab"))
    assert (finding.severity, finding.what) == (Severity.BROKEN, namespace_problem("lab", since))
