"""Check that a release's own bucket has a volume that outlives its pod, or that all pods can use a shared volume."""

from collections.abc import Iterator

from k8s.cluster.client import ApiRefusedError, Cluster
from k8s.cluster.resources import Claim, StorageClass
from k8s.doctor.findings import Finding, broken, fine, warning
from k8s.doctor.requirements import Requirements
from k8s.release.release import Release

_FIX = "Set bucket.emulator.storageClass or bucket.url=gs://BUCKET."
_NO_CLASS_FIX = (
    'Set bucket.emulator.storageClass to an existing class, or to "-" for a bucket that is lost with its pod, or set '
    "bucket.url=gs://BUCKET."
)


def check_storage(cluster: Cluster, requirements: Requirements, release: Release | None) -> Iterator[Finding]:
    """Check that the release's own bucket has or will get a volume, or the claim of a bucket on a shared volume.

    If the bucket of an installed release has no volume, check_pods reports it.
    """
    if requirements.bucket_claim:
        yield _shared_claim_finding(cluster, requirements.bucket_claim)
    if requirements.own_bucket is None:
        return
    claim = requirements.own_bucket.claim
    existing = claim if release else _existing_claim(cluster, claim)
    if existing:
        yield _claim_finding(cluster, existing)
    elif release is None:
        yield _new_claim_finding(cluster, claim)


def _shared_claim_finding(cluster: Cluster, name: str) -> Finding:
    try:
        claim = cluster.get(Claim, name)
    except ApiRefusedError as error:
        if error.status != 404:
            return warning("storage", f"you may not read the claim {name} of the bucket, so it was not checked")
        return broken(
            "storage",
            f"there is no PersistentVolumeClaim {name} in namespace {cluster.namespace}, so no pod starts",
            "Create it, or correct bucket.persistentVolumeClaim.claimName.",
        )
    modes = ", ".join(claim.spec.access_modes)
    if "ReadWriteMany" not in claim.spec.access_modes:
        return warning(
            "storage",
            f"the claim {name} of the bucket's volume is {modes}, so pods on other nodes than the first stay pending",
            "Use a claim with ReadWriteMany, or make all pods run on one node.",
        )
    if claim.status.phase != "Bound":
        return warning(
            "storage",
            f"the claim {name} of the bucket has no volume yet (its phase is {claim.status.phase or 'new'})",
            f"Run kubectl describe pvc {name} to see the reason.",
        )
    return fine("storage", f"the bucket is on the volume of the claim {name} ({modes})")


def _existing_claim(cluster: Cluster, claim: Claim | None) -> Claim | None:
    """Return the claim that was kept when an earlier release of the same name was uninstalled."""
    try:
        return cluster.get(Claim, claim.name) if claim and claim.name else None
    except ApiRefusedError:
        return None


def _claim_finding(cluster: Cluster, claim: Claim) -> Finding:
    of_class = f" of StorageClass {claim.spec.storage_class_name}" if claim.spec.storage_class_name else ""
    if claim.status.phase == "Bound":
        return fine("storage", f"the release's own bucket has a volume{of_class} (claim {claim.name})")
    classes = _classes(cluster)
    if claim.spec.storage_class_name and classes and claim.spec.storage_class_name not in classes:
        return broken(
            "storage",
            f"the claim {claim.name} for the release's own bucket stays Pending, because there is no StorageClass "
            f"{claim.spec.storage_class_name} (existing: {', '.join(classes)})",
            "Correct bucket.emulator.storageClass, or set bucket.url=gs://BUCKET.",
        )
    if not claim.spec.storage_class_name and classes is not None and not any(classes.values()):
        return broken(
            "storage",
            f"the claim {claim.name} for the release's own bucket stays Pending, because the cluster has no default "
            "StorageClass",
            _NO_CLASS_FIX,
        )
    return warning(
        "storage",
        f"the claim {claim.name}{of_class} for the release's own bucket has no volume yet (its phase is "
        f"{claim.status.phase or 'new'})",
        f"Run kubectl describe pvc {claim.name} to see the reason. A StorageClass with volumeBindingMode "
        "WaitForFirstConsumer creates the volume when the bucket's pod is scheduled.",
    )


def _new_claim_finding(cluster: Cluster, claim: Claim | None) -> Finding:
    try:
        classes = cluster.list(StorageClass)
    except ApiRefusedError:
        return warning("storage", "you may not list StorageClasses, so the bucket's volume was not checked", _FIX)
    storage_class = claim.spec.storage_class_name if claim else None
    default = next((item.name for item in classes if item.is_default), None)
    existing = ", ".join(item.name for item in classes) or "none"
    if storage_class and storage_class not in {item.name for item in classes}:
        return broken(
            "storage",
            f"the release's own bucket requires StorageClass {storage_class}, which does not exist (existing: "
            f"{existing})",
            "Correct bucket.emulator.storageClass, or set bucket.url=gs://BUCKET.",
        )
    if storage_class:
        return fine("storage", f"the release's own bucket gets a volume of StorageClass {storage_class}")
    if default and claim:
        return fine("storage", f"the release's own bucket gets a volume of the default StorageClass {default}")
    if claim:
        return broken(
            "storage",
            f"there is no default StorageClass (existing: {existing}), so the claim of the release's own bucket stays "
            "Pending and the bucket does not start",
            _NO_CLASS_FIX,
        )
    return warning(
        "storage", 'bucket.emulator.storageClass is "-", so the release\'s own bucket is lost with its pod', _FIX
    )


def _classes(cluster: Cluster) -> dict[str, bool] | None:
    """Return the names of all StorageClasses, and whether each is the default; None if they may not be listed."""
    try:
        return {item.name: item.is_default for item in cluster.list(StorageClass)}
    except ApiRefusedError:
        return None
