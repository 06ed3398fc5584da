"""The chart as Argo CD and other tools use it: rendered without a look into the cluster, applied, and pruned."""

from typing import Any

import pytest
import yaml

from tests.e2e.cluster import CHART, FailedError, Namespace, Release, run, until

SMALL = {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "4Gi"}}


def render(release: Release, **more: Any) -> str:
    """Return the manifests of the release, without its test."""
    repository, _, tag = release.image.rpartition(":")
    values = {
        "image": {"repository": repository, "tag": tag},
        "metrics": {"lingerSeconds": 0},
        "study": {"search": {"max_trials": 2}, "training": {"epochs": 2}},
        "workers": {"replicas": 1, "gpus": 0, "resources": SMALL},
    }
    chart = (release.name, str(CHART), "-n", release.namespace.name, "--no-hooks", "-f", "-")
    return run("helm", "template", *chart, stdin=yaml.safe_dump(values | more))


def apply(release: Release, manifests: str) -> str:
    """Apply the manifests, and delete what was applied before and is not among them."""
    return release.namespace.kubectl("apply", "--prune", "-l", release.labels(""), "-f", "-", stdin=manifests)


def secret(release: Release) -> Any:
    return release.namespace.get("secret", f"{release.chart_name}-tls")


def is_gone(release: Release, *what: str) -> bool:
    try:
        release.namespace.get(*what)
    except FailedError as error:
        return "NotFound" in str(error)
    return False


@pytest.mark.full
def test_a_study_that_is_applied_survives_a_change_of_its_pods_and_ends_in_an_evaluation(
    namespace: Namespace, image: str
) -> None:
    rendered = Release(namespace, "rendered", image)
    assert render(rendered) == render(rendered)
    apply(rendered, render(rendered))
    until("an epoch", lambda: rendered.epochs() > 0)
    certificates, before = secret(rendered), rendered.trials()
    jobs = {component: rendered.job(component)["metadata"]["name"] for component in ("chief", "worker", "evaluator")}
    bucket = rendered.pods("bucket")[0]["metadata"]["name"]
    claim = namespace.get("pvc", f"{rendered.chart_name}-bucket")
    account = f"--as=system:serviceaccount:{namespace.name}:{rendered.chart_name}-tls"
    for allowed, right in (
        ("yes", f"create secret/{rendered.chart_name}-tls"),
        ("no", "create secret/other"),
        ("no", "list secrets"),
        ("no", "create pods"),
    ):
        assert may(namespace, right, account) == allowed, right

    changed = render(rendered, podAnnotations={"changed": "yes"})
    apply(rendered, changed)
    for component, name in jobs.items():
        assert rendered.job(component)["metadata"]["name"] != name
    assert secret(rendered)["data"] == certificates["data"]
    until("the next pod of the bucket", lambda: rendered.running("bucket")[0]["metadata"]["name"] != bucket)
    assert namespace.get("pvc", claim["metadata"]["name"])["metadata"]["uid"] == claim["metadata"]["uid"]
    rendered.await_evaluation()
    trials = rendered.trials()
    assert len(trials) == 2
    assert [t["hyperparameters"] for t in trials][: len(before)] == [t["hyperparameters"] for t in before]

    apply(rendered, changed)  # nothing has changed, and nothing starts again
    assert rendered.is_complete("evaluator")
    assert rendered.is_complete("chief")
    assert secret(rendered)["metadata"]["uid"] == certificates["metadata"]["uid"]

    namespace.kubectl("delete", "--wait=false", "-f", "-", stdin=changed)
    until("the Secret to go with its owner", lambda: is_gone(rendered, "secret", f"{rendered.chart_name}-tls"))


def may(namespace: Namespace, right: str, account: str) -> str:
    """Return what `kubectl auth can-i` answers; it fails if the answer is no."""
    try:
        return namespace.kubectl("auth", "can-i", *right.split(), account).strip()
    except FailedError:
        return "no"
