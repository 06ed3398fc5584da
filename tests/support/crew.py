"""Workers as threads with the client of real ones, which ask a chief for trials and report epochs without training."""

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc

from tests.support.chief import RunningChief
from tuner import names
from tuner.errors import PreemptedError
from tuner.rpc import lease_service
from tuner.worker.chief_client import ChiefClient, Grant, Verdict

WITHIN_S = 30.0


@dataclass
class Crew:
    """Workers that ask the chief for a trial, each in a thread of its own, and the answers."""

    chief: RunningChief
    channels: list[grpc.Channel] = field(default_factory=list)
    clients: dict[str, ChiefClient] = field(default_factory=dict)
    answers: dict[str, Grant | None] = field(default_factory=dict)
    threads: list[threading.Thread] = field(default_factory=list)
    ends: threading.Event = field(default_factory=threading.Event)

    def ask(self, *workers: str) -> None:
        """Let new processes of these workers join and ask."""
        for worker in workers:
            channel = grpc.insecure_channel(self.chief.address, options=lease_service.OPTIONS)
            self.channels.append(channel)
            incarnation = f"incarnation-{len(self.channels)}"
            client = ChiefClient(channel, self.chief.address, worker, incarnation, lambda: None)
            client.join()
            self.clients[worker] = client
            self.ask_again(worker)

    def ask_again(self, worker: str) -> None:
        """Let a worker ask again."""
        self.answers.pop(worker, None)
        self.threads.append(threading.Thread(target=self._ask, args=(worker, self.clients[worker]), daemon=True))
        self.threads[-1].start()

    def _ask(self, worker: str, client: ChiefClient) -> None:
        with contextlib.suppress(PreemptedError):
            self.answers[worker] = client.next_trial(self._check)

    def _check(self) -> None:
        if self.ends.is_set():
            raise PreemptedError("the test has ended")

    def close(self) -> None:
        """End the threads."""
        self.ends.set()
        for thread in self.threads:
            thread.join(WITHIN_S)
        for channel in self.channels:
            channel.close()

    def wait_for(self, condition: Callable[["Crew"], bool]) -> None:
        """Wait until the condition is true of the workers."""
        deadline = time.monotonic() + WITHIN_S
        while not condition(self):
            assert time.monotonic() < deadline, (self.answers, self.chief.waiting())
            time.sleep(0.02)

    @property
    def working(self) -> list[str]:
        """The workers that have a trial."""
        return [worker for worker, grant in self.answers.items() if grant is not None]

    @property
    def dismissed(self) -> list[str]:
        """The workers that were dismissed while the search continues."""
        return [
            worker for worker, grant in self.answers.items() if grant is None and self.clients[worker].was_dismissed
        ]

    def complete(self, worker: str) -> None:
        """Let a worker complete its trial."""
        grant = self.answers[worker]
        assert grant is not None
        self.clients[worker].report(grant, 0, {"val_accuracy": 0.5}, None, None, threading.Event())
        self.clients[worker].complete(grant)

    def epoch(self, worker: str, number: int, objective: float = 0.5) -> Verdict | None:
        """Report an epoch with a saved model, and return why the worker must not train further, if so."""
        grant = self.answers[worker]
        assert grant is not None
        model = names.checkpoint(self.chief.study.name, grant.trial_id, grant.attempt, number)
        metrics = {"val_accuracy": objective}
        return self.clients[worker].report(grant, number, metrics, model, "0" * 64, threading.Event())
