"""The context of a chief, which stays the same from its start to its end."""

from dataclasses import dataclass

from tuner.address import Address
from tuner.bucket import Bucket
from tuner.chief.evaluation_job import ChiefJob
from tuner.chief.monitor import ChiefMonitor
from tuner.config.settings import Study
from tuner.rpc.tls import Files
from tuner.scripts.session import ScriptSearch


@dataclass(frozen=True)
class ChiefContext:
    """The study, the bucket that stores it, and the address at which the chief serves it."""

    bucket: Bucket
    study: Study
    digest: str
    """Digest of the data set."""
    address: Address
    """Address to listen on."""
    tls: Files | None
    """TLS files of the chief; None if it serves without TLS."""
    cluster: ChiefJob | None
    """Settings of the chief's Kubernetes Job; None outside Kubernetes."""
    monitor: ChiefMonitor
    script: ScriptSearch | None = None
    """The search of the script that this process runs; None without a script."""
    notes: tuple[str, ...] = ()
    """Sentences about the settings that users should see when the study is opened."""
    spare: int = 1
    """Number of idle workers that stay when no more trials can start."""
