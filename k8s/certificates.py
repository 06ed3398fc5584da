"""Create the Secret with the certificates of a release, unless it exists. A Job of the chart runs this module.

The chief and its workers share one certificate. The authority that signed it has no other use, so its key is discarded.

The Secret is owned by the service account of the Job, and Kubernetes deletes it when the release is uninstalled. It
does not have the label of the release, because a tool that selects the objects of a release by this label, such as
Argo CD, would delete an object that it has not applied.

usage: python -m k8s.certificates SECRET CHIEF
"""

import base64
import ipaddress
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from k8s.cluster.client import ApiRefusedError, Cluster, connect_from_pod
from k8s.cluster.objects import Secret
from tuner import names
from tuner.errors import CifakeTuneError, EnvironmentFailure, UsageError
from tuner.sidecar import quit_sidecar

VALIDITY = timedelta(days=3650)
CLOCK_SKEW = timedelta(hours=1)
"""How far the clocks of nodes may be behind the clock of the node that creates the certificate."""
CERTIFICATE, KEY, AUTHORITY = "tls.crt", "tls.key", "ca.crt"
GARBAGE_S = 60.0
"""Seconds in which Kubernetes must delete the Secret of a release that was uninstalled just before."""
_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


def main() -> None:
    """Create the Secret named in the arguments. Exits with the code of the error. An injected sidecar ends too."""
    try:
        _create()
    finally:
        if url := os.environ.get(names.ENV_QUIT_URL):
            quit_sidecar(url)


def _create() -> None:
    secret, chief = sys.argv[1:]
    try:
        created = ensure(connect_from_pod(), secret, chief, _account(_TOKEN.read_text(encoding="ascii")))
    except CifakeTuneError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    print(f"the Secret {secret} {'was created' if created else 'exists and is kept'}")  # noqa: T201


def ensure(
    cluster: Cluster, secret: str, chief: str, owner: Mapping[str, str], sleep: Callable[[float], None] = time.sleep
) -> bool:
    """Create the Secret unless it exists, and return whether it was created.

    Args:
        cluster: The namespace of the release.
        secret: Name of the Secret.
        chief: Name of the chief's Service.
        owner: Name and uid of the service account that will own the Secret.
        sleep: Waits for a number of seconds.

    Raises:
        UsageError: The Secret exists, but has no certificates.
        EnvironmentFailure: The API server refuses or fails, or the Secret of an uninstalled release remains.
    """
    for _ in range(int(GARBAGE_S)):
        existing = _read(cluster, secret)
        if existing is None:
            try:
                cluster.apply(Secret, manifest(secret, certificates(chief, cluster.namespace), owner), _manager())
            except ApiRefusedError as error:
                if error.status != 409:
                    raise
                continue  # another pod created it in the meantime
            return True
        if not _is_garbage(existing, owner):
            _check_complete(existing)
            return False
        sleep(1)
    raise EnvironmentFailure(
        f"the Secret {secret} belongs to a release that was uninstalled, and Kubernetes has not deleted it within "
        f"{GARBAGE_S:g} s. Delete it with `kubectl delete secret -n {cluster.namespace} {secret}`."
    )


def certificates(chief: str, namespace: str) -> dict[str, bytes]:
    """Return a certificate for the chief's Service and for clients, its key, and its authority, in PEM."""
    hosts = [chief, "localhost", *(f"{chief}.{namespace}{domain}" for domain in ("", ".svc", ".svc.cluster.local"))]
    alternatives: list[x509.GeneralName] = [x509.DNSName(host) for host in hosts]
    alternatives.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = (
        _builder(f"{chief} CA", f"{chief} CA", authority_key, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    purposes = [x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        _builder(chief, f"{chief} CA", key, authority_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return {
        CERTIFICATE: certificate.public_bytes(pem),
        KEY: key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        AUTHORITY: authority.public_bytes(pem),
    }


def manifest(name: str, content: Mapping[str, bytes], owner: Mapping[str, str]) -> dict[str, object]:
    """Return the Secret as an object of the API."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "labels": {names.LABEL_NAME: names.APPLICATION, names.LABEL_COMPONENT: "tls"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "ServiceAccount", **owner}],
        },
        "type": "kubernetes.io/tls",
        "data": {key: base64.b64encode(value).decode() for key, value in content.items()},
    }


def _builder(
    subject: str, issuer: str, key: ec.EllipticCurvePrivateKey, issuer_key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + VALIDITY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _key_usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _read(cluster: Cluster, name: str) -> Secret | None:
    try:
        return cluster.get(Secret, name)
    except ApiRefusedError as error:
        if error.status == 404:
            return None
        raise


def _is_garbage(secret: Secret, owner: Mapping[str, str]) -> bool:
    """Return whether the Secret belongs to an earlier service account of the same name, which no longer exists."""
    owners: Sequence[str] = [o.uid for o in secret.metadata.owner_references if o.kind == "ServiceAccount"]
    return bool(owners) and owner["uid"] not in owners


def _check_complete(secret: Secret) -> None:
    missing = [key for key in (CERTIFICATE, KEY, AUTHORITY) if not secret.data.get(key)]
    if missing:
        raise UsageError(
            f"the Secret {secret.name} has no {' and no '.join(missing)}. Delete it, so that it can be created with "
            "certificates, or name a Secret that has them in tls.existingSecret."
        )


def _account(token: str) -> dict[str, str]:
    """Return the name and uid of the service account to which the token belongs."""
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    account = claims["kubernetes.io"]["serviceaccount"]
    return {"name": account["name"], "uid": account["uid"]}


def _manager() -> str:
    """Return the name of this pod as a field manager. Two pods cannot both create the Secret, because they differ."""
    return os.environ.get("HOSTNAME", "cifake-tune")


if __name__ == "__main__":
    main()
