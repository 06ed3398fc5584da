"""Has a release's own bucket a volume that outlives its pod?"""

from collections.abc import Iterator

from k8s.cluster.client import ApiRefusedError, Cluster
from k8s.cluster.resources import Claim, StorageClass
from k8s.doctor.findings import Finding, broken, fine, warning
from k8s.doctor.requirements import Needs
from k8s.release.release import Release

_NAME_ONE = "Set bucket.emulator.storageClass or bucket.url=gs://BUCKET."


def check_storage(cluster: Cluster, needs: Needs, release: Release | None) -> Iterator[Finding]:
    """Has it one, or will it get one? A release that has none is told of with its pods."""
    if needs.own_bucket is None:
        return
    claim = needs.own_bucket.claim
    there = claim if release else _there(cluster, claim)
    if there:
        yield _of_claim(there)
    elif release is None:
        yield _to_come(cluster, claim)


def _there(cluster: Cluster, claim: Claim | None) -> Claim | None:
    """Return the claim that an earlier release of the name has left."""
    try:
        return cluster.get(Claim, claim.name) if claim and claim.name else None
    except ApiRefusedError:
        return None


def _of_claim(claim: Claim) -> Finding:
    of_class = f" of StorageClass {claim.spec.storage_class_name}" if claim.spec.storage_class_name else ""
    if claim.status.phase == "Bound":
        return fine("storage", f"the release's own bucket has a volume{of_class}, claim {claim.name}")
    return warning(
        "storage",
        f"the claim {claim.name}{of_class}, for the release's own bucket, is {claim.status.phase or 'new'}: "
        "it has no volume yet",
        f"kubectl describe pvc {claim.name} says why; a class that binds late waits for the bucket's pod.",
    )


def _to_come(cluster: Cluster, claim: Claim | None) -> Finding:
    try:
        classes = cluster.list(StorageClass)
    except ApiRefusedError:
        return warning("storage", "you may not list StorageClasses", _NAME_ONE)
    wanted = claim.spec.storage_class_name if claim else None
    default = next((each.name for each in classes if each.is_default), None)
    has = ", ".join(each.name for each in classes) or "none at all"
    if wanted and wanted not in {each.name for each in classes}:
        return broken(
            "storage",
            f"the release's own bucket is to get a volume of StorageClass {wanted}, and there is no such class ({has})",
            "Correct bucket.emulator.storageClass, or set bucket.url=gs://BUCKET.",
        )
    if wanted:
        return fine("storage", f"the release's own bucket gets a volume of StorageClass {wanted}")
    if default and claim:
        return fine("storage", f"the release's own bucket gets a volume of the default StorageClass {default}")
    why = 'bucket.emulator.storageClass is "-"' if default else f"there is no default StorageClass ({has})"
    return warning("storage", f"{why}, so the release's own bucket is lost with its pod", _NAME_ONE)
