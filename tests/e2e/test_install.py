"""`helm install` with nothing but an image: data, search and evaluation, in a namespace that enforces `restricted`."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from tests.e2e.cluster import CHART, FailedError, Namespace, Release, run, until


@pytest.fixture(scope="module")
def installed(namespace: Namespace, image: str) -> Iterator[Release]:
    """The default release, its search cut short: 3 trials of 2 epochs on the sample."""
    release = Release(namespace, "cifake-tune", image)
    release.install(study={"search": {"max_trials": 3}, "training": {"epochs": 2}})
    yield release
    run("helm", "uninstall", release.name, "-n", namespace.name)


def test_two_workers_get_a_gpu_each_on_two_nodes(installed: Release) -> None:
    workers = until("two workers", lambda: len(pods := installed.running("worker")) == 2 and pods)
    assert workers
    assert len({pod["spec"]["nodeName"] for pod in workers}) == 2
    for pod in workers:
        assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_only_the_chief_and_the_job_that_makes_the_certificates_have_a_token(installed: Release) -> None:
    until("the pods", lambda: len(installed.pods()) >= 4)
    with_token = {
        pod["metadata"]["labels"]["app.kubernetes.io/component"]
        for pod in installed.pods()
        if any("serviceAccountToken" in json.dumps(volume) for volume in pod["spec"]["volumes"])
    }
    assert with_token == {"chief", "tls"}


def test_the_chiefs_account_can_start_the_evaluation_end_its_job_read_pods_and_do_nothing_else(
    installed: Release,
) -> None:
    """What every account may do, such as ask what it may do, left out."""

    def rights(account: str) -> set[str]:
        who = f"--as=system:serviceaccount:{installed.namespace.name}:{account}"
        listed = installed.namespace.kubectl("auth", "can-i", "--list", "--no-headers", who)
        return {" ".join(line.split()) for line in listed.splitlines()}

    everyones = rights("default")
    chief, evaluation = (installed.job(component)["metadata"]["name"] for component in ("chief", "evaluator"))
    assert everyones
    assert rights("cifake-tune-chief") - everyones == {
        f"jobs.batch [] [{chief}] [get patch]",
        f"jobs.batch [] [{evaluation}] [get patch]",
        "pods [] [] [get]",
    }
    assert rights("cifake-tune") - everyones == set()
    assert rights("cifake-tune-tls") - everyones == {"secrets [] [cifake-tune-tls] [get create patch]"}


CALL_THE_CHIEF = """
import grpc, sys
from pathlib import Path
from tuner.cli.backend import choose_backend
choose_backend()
from keras_tuner.src import protos
CHIEF = sys.argv[1]
ours, strangers = ({f.name: f.read_bytes() for f in Path(at).glob("[a-z]*")} for at in ("/ours", "/strangers"))
ways = {
    "plain text": None,
    "no certificate": (ours["ca.crt"], None, None),
    "a stranger's": (ours["ca.crt"], strangers["tls.key"], strangers["tls.crt"]),
    "the release's": (ours["ca.crt"], ours["tls.key"], ours["tls.crt"]),
}
for way, pems in ways.items():
    channel = grpc.secure_channel(CHIEF, grpc.ssl_channel_credentials(*pems)) if pems else grpc.insecure_channel(CHIEF)
    try:
        protos.get_service_grpc().OracleStub(channel).GetSpace(protos.get_service().GetSpaceRequest(), timeout=10)
        print(f"{way}: OK")
    except grpc.RpcError as error:
        print(f"{way}: {error.code().name}")
"""


def test_a_pod_without_the_releases_certificate_cannot_call_the_chief(installed: Release) -> None:
    """The pod has the labels of `helm test`, so that a network that enforces NetworkPolicies allows it the port."""
    namespace, authority = installed.namespace, trustme.CA()
    stranger = authority.issue_cert("cifake-tune-chief")
    until("the chief to listen", lambda: "listens on port" in installed.logs("chief"))
    namespace.apply(
        "Secret",
        "strangers",
        stringData={
            "tls.crt": stranger.cert_chain_pems[0].bytes().decode(),
            "tls.key": stranger.private_key_pem.bytes().decode(),
        },
    )
    command = ["/opt/venv/bin/python", "-c", CALL_THE_CHIEF, "cifake-tune-chief:8000"]
    volumes = {
        "ours": {"secret": {"secretName": "cifake-tune-tls"}},
        "strangers": {"secret": {"secretName": "strangers"}},
    }
    labels = {
        "app.kubernetes.io/name": "cifake-tune",
        "app.kubernetes.io/instance": installed.name,
        "app.kubernetes.io/component": "test",
    }
    output = namespace.run_once("caller", installed.image, command, None, labels, **volumes)
    assert output.splitlines()[-4:] == [
        "plain text: UNAVAILABLE",
        "no certificate: UNAVAILABLE",
        "a stranger's: UNAVAILABLE",
        "the release's: OK",
    ]


def test_the_search_ends_in_an_evaluation_and_every_job_completes(installed: Release) -> None:
    installed.await_evaluation()
    assert installed.status()["state"] == "finished"
    assert "400 images" in installed.logs("evaluator")
    assert installed.is_complete("data")
    assert "Phase:          Succeeded" in installed.test()


def test_what_is_uninstalled_leaves_its_bucket_and_the_same_install_has_nothing_left_to_do(
    installed: Release,
) -> None:
    trials = installed.trials()
    installed.uninstall()
    installed.install()
    installed.await_evaluation()
    assert installed.trials() == trials
    assert "has been evaluated already" in installed.logs("evaluator")
    assert "the search of study cifake-tune has finished" in installed.logs("worker")


def test_a_wrong_study_is_refused_before_anything_is_installed(
    installed: Release, release: Callable[[str], Release]
) -> None:
    with pytest.raises(FailedError, match=r"max_trial is not a value .* did you mean study\.search\.max_trials\?"):
        release("wrong").install(study__search__max_trial=3)


@pytest.mark.parametrize("values", sorted(CHART.glob("ci/*-values.yaml")), ids=lambda path: path.stem)
def test_the_api_server_takes_what_is_rendered(namespace: Namespace, values: Path) -> None:
    """All objects, in its own dry run, which knows every field and rule; and the chart as it looks into the cluster."""
    if "podMonitor" in values.read_text("utf-8") and "monitoring.coreos.com" not in run("kubectl", "api-versions"):
        pytest.skip("the cluster knows no PodMonitor: it has no Prometheus Operator")
    chart = ("dry", str(CHART), "-n", namespace.name, "-f", str(values), "--dry-run=server")
    assert "STATUS: pending-install" in run("helm", "install", *chart)
    objects = run("helm", "template", *chart, "--skip-tests")  # whose pod wants a service account that is there
    output = namespace.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=objects)
    assert output.count("created (server dry run)") == objects.count("\nkind: ")
