"""What a chief works with from its start to its end."""

from dataclasses import dataclass

from tuner.address import Address
from tuner.bucket import Bucket
from tuner.chief.evaluation_job import ChiefJob
from tuner.chief.monitor import ChiefMonitor
from tuner.config.settings import Study
from tuner.rpc.tls import Files


@dataclass(frozen=True)
class ChiefContext:
    """The study, where it is stored, and where the chief serves it."""

    bucket: Bucket
    study: Study
    digest: str
    """Digest of the data set."""
    address: Address
    """Address to listen on."""
    tls: Files | None
    """None serves without TLS."""
    cluster: ChiefJob | None
    """None outside Kubernetes."""
    monitor: ChiefMonitor
