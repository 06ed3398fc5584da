"""Bare Keras Tuner's processes, and its own client to drive its chief with."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import grpc
from keras_tuner.engine.trial import Trial
from keras_tuner.src import protos

from tests.support.gcs_emulator import free_port
from tuner import names

SCRIPTS = Path(__file__).parent / "scripts"
WAIT_S = 120.0
"""Nothing takes so long, also on a busy machine."""
SOON_S = 4.0
"""A chief of Keras Tuner that finds all done ends within a second; one that still runs then is waiting."""

service = protos.get_service()
Result = TypeVar("Result")


def wait_for(condition: Callable[[], Result], what: str) -> Result:
    """Return what `condition` returns once that is true."""
    deadline = time.monotonic() + WAIT_S
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {WAIT_S:g} s: {what}"
        time.sleep(0.02)
    return result


@dataclass
class Bare:
    """A folder with a project of bare Keras Tuner, and its processes."""

    folder: Path
    port: int = field(default_factory=free_port)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, script: str, *arguments: str, tuner_id: str | None = None) -> subprocess.Popen[str]:
        """Start a script as a process of the distributed search with that id, or alone where there is none."""
        ours = ("CIFAKE_TUNE_", "KERASTUNER_")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        environment |= {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        if tuner_id is not None:
            environment |= {
                names.ENV_TUNER_ID: tuner_id,
                names.ENV_ORACLE_IP: "127.0.0.1",
                names.ENV_ORACLE_PORT: str(self.port),
            }
        process = subprocess.Popen(
            [sys.executable, SCRIPTS / script, self.folder, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=(self.folder / f"{len(self.processes)}.err").open("w"),
            text=True,
        )
        self.processes.append(process)
        return process

    def error(self, process: subprocess.Popen[str]) -> str:
        """Return what a process has written to standard error."""
        return (self.folder / f"{self.processes.index(process)}.err").read_text()

    def client(self, port: int | None = None) -> Any:
        """Return a client of the chief, once that listens."""
        channel = grpc.insecure_channel(f"127.0.0.1:{port or self.port}")
        grpc.channel_ready_future(channel).result(timeout=WAIT_S)
        return protos.get_service_grpc().OracleStub(channel)

    def epochs(self) -> list[tuple[str, int]]:
        """Return worker and number of each epoch that began."""
        file = self.folder / "epochs"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(line.split()[0], int(line.split()[1])) for line in lines]


@contextmanager
def bare(folder: Path) -> Iterator[Bare]:
    """Yield a folder; at the end its processes are killed."""
    bare_study = Bare(folder)
    try:
        yield bare_study
    finally:
        for process in bare_study.processes:
            process.send_signal(signal.SIGKILL)
            process.communicate()


def create(client: Any, worker: str) -> Any:
    """Ask for a trial, as a worker does."""
    return client.CreateTrial(service.CreateTrialRequest(tuner_id=worker), timeout=WAIT_S).trial


def report(client: Any, trial: Any, value: float, step: int = 0) -> None:
    """Report an objective."""
    request = service.UpdateTrialRequest(trial_id=trial.trial_id, metrics={"val_accuracy": value}, step=step)
    client.UpdateTrial(request, timeout=WAIT_S)


def end(client: Any, trial: Any) -> None:
    """End a trial well."""
    trial.status = protos.get_proto().TrialStatus.COMPLETED
    client.EndTrial(service.EndTrialRequest(trial=trial), timeout=WAIT_S)


def get(client: Any, trial_id: str) -> Any:
    """Return a trial as the chief knows it."""
    return client.GetTrial(service.GetTrialRequest(trial_id=trial_id), timeout=WAIT_S).trial


def observations(trial: Any) -> list[float]:
    """Return the objective's values that a trial has, one an observation."""
    metrics = Trial.from_proto(trial).metrics
    return [value for observation in metrics.get_history("val_accuracy") for value in observation.value]
