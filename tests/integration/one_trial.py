"""One trial of a chief in the test's own process, and workers in processes of their own."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras_tuner

from tests.integration.support import SPACES, Command, Place
from tests.support.chief import RunningChief, running_chief
from tests.support.disks import fill
from tuner import names
from tuner.bucket import Bucket
from tuner.config.loading import load
from tuner.config.settings import Study
from tuner.data.pack import pack
from tuner.study.records import AttemptEnded, Outcome
from tuner.study.trial import Trial

WAIT_S = 180.0
EPOCHS = 6


def study(space: str, *more: str) -> Study:
    """Return the settings of one trial of a HyperModel of `spaces/user_spaces.py`."""
    return load(
        settings=[
            *("search.max_trials=1", f"training.epochs={EPOCHS}", "search.early_stopping.policy=none"),
            *(f"space.import=user_spaces:{space}", f"space.code={SPACES}", "data.batch_size=16"),
            *more,
        ]
    )


@dataclass
class Night:
    """A chief in this process and a worker in one of its own."""

    place: Place
    chief: RunningChief
    digest: str

    @property
    def identity(self) -> dict[str, str]:
        """Return the environment variables of a worker."""
        return {
            names.ENV_TUNER_ID: "worker-0",
            names.ENV_ORACLE_IP: "127.0.0.1",
            names.ENV_ORACLE_PORT: str(self.chief.port),
        }

    def work(self, **environment: str) -> Command:
        """Start a worker."""
        return self.place.start("worker", **{**self.identity, **environment})

    def work_until_full(self, disk: Path) -> Command:
        """Start a worker whose temporary files are on a disk that is full once it has reported an epoch."""
        self.gate("hold-1").touch()
        worker = self.work(TMPDIR=str(disk))
        self.until(lambda: self.epochs() == 1, "an epoch")
        fill(disk)
        self.gate("hold-1").unlink()
        return worker

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition."""
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, f"{what}\n{self.place.logs()}"
            time.sleep(0.05)

    def trial(self) -> Trial | None:
        """The only trial, once there is one."""
        return self.chief.ask(lambda state: next(iter(state.trials.values()), None))

    def epochs(self) -> int:
        """How many epochs are reported."""
        return self.chief.ask(lambda state: sum(len(trial.epochs) for trial in state.trials.values()))

    def gate(self, name: str) -> Path:
        """A file that the space looks for."""
        return self.place.gate / name

    def problem(self) -> str:
        """What a worker says that it waits for."""
        return next((worker.problem for worker in self.chief.workers() if worker.problem), "")

    def endings(self) -> list[Outcome]:
        """How the attempts ended that were handed back."""
        return [record.cause for record in self.place.records() if isinstance(record, AttemptEnded)]


@contextmanager
def night(place: Place, bucket: Bucket, source: str, space: str = "GatedLine", *more: str) -> Iterator[Night]:
    """Pack the data and serve the study; the journal is in the place's own bucket, all else in `bucket`."""
    digest = pack(source, bucket).digest
    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    with running_chief(place.bucket, study(space, *more), hyperparameters, digest) as chief:
        yield Night(place, chief, digest)
