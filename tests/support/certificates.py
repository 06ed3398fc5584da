"""An authority, and the certificates that it signs, as files and as the environment that leads to them."""

import datetime
from pathlib import Path

import trustme

from tuner import names
from tuner.rpc.tls import Files

LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


class Authority:
    """Signs certificates; all that it writes lies in `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.certificate = folder / "authority.pem"
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(str(self.certificate))

    def issue(self, name: str, *hosts: str, expired: bool = False, trusting: "Authority | None" = None) -> Files:
        """Write (or replace) a certificate for `hosts` with its key; its owner trusts this authority, or another."""
        dates = {"not_before": LONG_AGO, "not_after": LONG_AGO + datetime.timedelta(days=1)} if expired else {}
        issued = self._authority.issue_cert(*hosts, **dates)  # type: ignore[arg-type]
        certificate, key = self.folder / f"{name}-certificate.pem", self.folder / f"{name}-key.pem"
        certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        return Files(certificate, key, (trusting or self).certificate)


def environment(files: Files) -> dict[str, str]:
    """Return the variables that name the files."""
    return {
        names.ENV_TLS_CERT: str(files.certificate),
        names.ENV_TLS_KEY: str(files.key),
        names.ENV_TLS_CA: str(files.authority),
        names.ENV_TLS_NAME: files.name or "",
    }
