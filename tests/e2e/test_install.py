"""`helm install` with nothing but an image: data, search and evaluation, in a namespace that enforces `restricted`."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import CHART, FailedError, Namespace, Release, run, until


@pytest.fixture(scope="module")
def installed(namespace: Namespace, image: str) -> Iterator[Release]:
    """The default release, its search cut short: 3 trials of 2 epochs on the sample."""
    release = Release(namespace, "cifake-tune", image)
    release.install(study={"search": {"max_trials": 3}, "training": {"epochs": 2}})
    yield release
    run("helm", "uninstall", release.name, "-n", namespace.name)


def test_two_workers_get_a_gpu_each_on_two_nodes(installed: Release) -> None:
    workers = until("two workers", lambda: len(found := installed.running("worker")) == 2 and found)
    assert workers
    assert len({pod["spec"]["nodeName"] for pod in workers}) == 2
    for pod in workers:
        assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_only_the_chief_has_a_token_and_it_can_do_nothing_but_start_the_evaluation(installed: Release) -> None:
    def rights(account: str, verb: str, *what: str) -> bool:
        who = f"--as=system:serviceaccount:{installed.namespace.name}:{account}"
        try:
            return installed.namespace.kubectl("auth", "can-i", verb, *what, who).strip() == "yes"
        except FailedError:  # kubectl says no with an exit code
            return False

    until("the pods", lambda: len(installed.pods()) >= 4)
    with_token = {
        pod["metadata"]["labels"]["app.kubernetes.io/component"]
        for pod in installed.pods()
        if any("serviceAccountToken" in json.dumps(volume) for volume in pod["spec"]["volumes"])
    }
    assert with_token == {"chief"}
    job = f"jobs/{installed.job('evaluator')['metadata']['name']}"
    assert rights("cifake-tune-chief", "patch", job)
    assert rights("cifake-tune-chief", "get", job)
    for verb, what in [
        ("delete", job),
        ("patch", f"jobs/{installed.job('worker')['metadata']['name']}"),
        ("create", "jobs"),
        ("list", "jobs"),
        ("list", "pods"),
        ("get", "secrets"),
    ]:
        assert not rights("cifake-tune-chief", verb, what), f"{verb} {what}"


def test_a_pod_without_the_certificate_cannot_call_the_chief(installed: Release) -> None:
    until("the chief to listen", lambda: "listens on port" in installed.logs("chief"))
    worker = until("a worker", lambda: installed.running("worker"))[0]
    call = (
        "import grpc\n"
        "from tuner.keras_import import choose_backend\n"
        "choose_backend()\n"
        "from keras_tuner.src import protos\n"
        "channel = grpc.insecure_channel('cifake-tune-chief:8000')\n"
        "request = protos.get_service().GetSpaceRequest()\n"
        "try:\n"
        "    protos.get_service_grpc().OracleStub(channel).GetSpace(request, timeout=10)\n"
        "except grpc.RpcError as error:\n"
        "    print(error.code().name)\n"
    )
    said = installed.namespace.kubectl("exec", worker["metadata"]["name"], "--", "/opt/venv/bin/python", "-c", call)
    assert said.split()[-1] == "UNAVAILABLE"


def test_the_search_ends_in_an_evaluation_and_every_job_completes(installed: Release) -> None:
    installed.await_evaluation()
    assert installed.status()["state"] == "finished"
    assert "400 images" in installed.logs("evaluator")
    assert installed.is_complete("data")
    assert "Phase:          Succeeded" in installed.test()


def test_what_is_uninstalled_leaves_its_bucket_and_the_same_install_has_nothing_left_to_do(
    installed: Release,
) -> None:
    before = installed.trials()
    installed.uninstall()
    installed.install()
    installed.await_evaluation()
    assert installed.trials() == before
    assert "has been evaluated already" in installed.logs("evaluator")
    assert "the search of study cifake-tune is over" in installed.logs("worker")


def test_a_wrong_study_is_refused_before_anything_is_installed(
    installed: Release, release: Callable[[str], Release]
) -> None:
    with pytest.raises(FailedError, match=r"'/study/search': additional properties 'max_trial' not allowed"):
        release("wrong").install(study__search__max_trial=3)


@pytest.mark.parametrize("values", sorted(CHART.glob("ci/*-values.yaml")), ids=lambda path: path.stem)
def test_the_api_server_takes_what_is_rendered(namespace: Namespace, values: Path) -> None:
    """All objects, in its own dry run, which knows every field and rule; and the chart as it looks into the cluster."""
    chart = ("dry", str(CHART), "-n", namespace.name, "-f", str(values), "--dry-run=server")
    assert "STATUS: pending-install" in run("helm", "install", *chart)
    objects = run("helm", "template", *chart, "--skip-tests")  # whose pod wants a service account that is there
    said = namespace.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=objects)
    assert said.count("created (server dry run)") == objects.count("\nkind: ")
