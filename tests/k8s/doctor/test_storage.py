"""What `doctor` says of the bucket's claim, before an install and after it."""

from typing import Any

import pytest

from k8s.cluster.resources import Claim
from k8s.doctor.findings import Finding, Severity
from k8s.doctor.requirements import OwnBucket, Requirements
from k8s.doctor.storage import check_storage
from k8s.release.release import Release
from tests.support.api_server import cluster_at, running_api_server

DEFAULT = {
    "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "provisioner": "kubernetes.io/no-provisioner",
    "volumeBindingMode": "WaitForFirstConsumer",
}
OTHER = {"metadata": {"name": "gold"}, "provisioner": "pd.csi.storage.gke.io"}
NO_CLASS = 'or to "-" for a bucket that is lost with its pod'


def claim(storage_class: str | None = None, phase: str = "", name: str = "") -> Claim:
    spec = {"storageClassName": storage_class} if storage_class else {}
    return Claim.model_validate({"metadata": {"name": name}, "spec": spec, "status": {"phase": phase}})


def finding(classes: list[Any], bucket_claim: Claim | None, installed: bool) -> Finding:
    requirements = Requirements("", OwnBucket("http://bucket:4443", bucket_claim))
    with running_api_server({"storageclasses": classes}) as api:
        cluster = cluster_at(api.url, "team")
        release = Release("night", cluster, [], [], [], []) if installed else None
        (result,) = check_storage(cluster, requirements, release)
    return result


@pytest.mark.parametrize(
    ("classes", "bucket_claim", "severity", "what"),
    [
        ([DEFAULT, OTHER], claim(), Severity.FINE, "gets a volume of the default StorageClass standard"),
        ([OTHER], claim(), Severity.BROKEN, "there is no default StorageClass (existing: gold), so the claim"),
        ([], claim(), Severity.BROKEN, "there is no default StorageClass (existing: none), so the claim"),
        ([OTHER], claim("gold"), Severity.FINE, "gets a volume of StorageClass gold"),
        ([OTHER], claim("silver"), Severity.BROKEN, "requires StorageClass silver, which does not exist"),
        ([OTHER], None, Severity.WARNING, 'bucket.emulator.storageClass is "-", so'),
        ([DEFAULT], None, Severity.WARNING, 'bucket.emulator.storageClass is "-", so'),
    ],
)
def test_before_an_install_the_claim_that_will_be_made_is_judged(
    classes: list[Any], bucket_claim: Claim | None, severity: Severity, what: str
) -> None:
    result = finding(classes, bucket_claim, installed=False)
    assert (result.severity, what in result.what) == (severity, True), result
    assert (NO_CLASS in result.fix) is ("no default" in what)


@pytest.mark.parametrize(
    ("classes", "bucket_claim", "severity", "what"),
    [
        (
            [OTHER],
            claim(None, "Pending", "b"),
            Severity.BROKEN,
            "the claim b for the release's own bucket stays Pending",
        ),
        ([DEFAULT], claim(None, "Pending", "b"), Severity.WARNING, "has no volume yet (its phase is Pending)"),
        ([OTHER], claim("gold", "Pending", "b"), Severity.WARNING, "has no volume yet (its phase is Pending)"),
        ([OTHER], claim("tin", "Pending", "b"), Severity.BROKEN, "there is no StorageClass tin (existing: gold)"),
        ([], claim("gold", "Bound", "b"), Severity.FINE, "has a volume of StorageClass gold (claim b)"),
    ],
)
def test_after_an_install_a_pending_claim_is_named(
    classes: list[Any], bucket_claim: Claim, severity: Severity, what: str
) -> None:
    result = finding(classes, bucket_claim, installed=True)
    assert (result.severity, what in result.what) == (severity, True), result
    assert (NO_CLASS in result.fix) is (severity is Severity.BROKEN and bucket_claim.spec.storage_class_name is None)


@pytest.mark.parametrize(
    ("claims", "severity", "what"),
    [
        (
            [("ReadWriteMany", "Bound")],
            Severity.FINE,
            "is on the volume of the claim shared (ReadWriteMany)",
        ),
        ([("ReadWriteOnce", "Bound")], Severity.WARNING, "is ReadWriteOnce, so pods on other nodes"),
        ([("ReadWriteMany", "Pending")], Severity.WARNING, "has no volume yet (its phase is Pending)"),
        ([], Severity.BROKEN, "there is no PersistentVolumeClaim shared in namespace team"),
    ],
)
def test_the_claim_of_a_bucket_on_a_shared_volume_is_judged(
    claims: list[tuple[str, str]], severity: Severity, what: str
) -> None:
    objects: dict[str, Any] = {}
    for mode, phase in claims:
        spec, status = {"accessModes": [mode]}, {"phase": phase}
        objects["persistentvolumeclaims/shared"] = {"metadata": {"name": "shared"}, "spec": spec, "status": status}
    with running_api_server(objects) as api:
        (result,) = check_storage(cluster_at(api.url, "team"), Requirements("/bucket", bucket_claim="shared"), None)
    assert (result.severity, what in result.what) == (severity, True), result
