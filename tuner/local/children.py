"""The child processes of `cifake-tune run` (chief, workers and evaluator), which are watched and restarted."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import grpc
import yaml

from tuner import names
from tuner.address import Address, reserved
from tuner.bucket import Bucket
from tuner.config.settings import Study
from tuner.errors import (
    CifakeTuneError,
    ConfigError,
    EnvironmentFailure,
    ExitCode,
    FencedError,
    InternalError,
    NoResultError,
    PreemptedError,
    UsageError,
)
from tuner.local.crew import Crew
from tuner.local.gpus import chief_variables, evaluator_variables, worker_variables
from tuner.local.outage_watch import OutageWatch
from tuner.local.starting_chief import StartingChief
from tuner.rpc import lease_service, tls
from tuner.study.journal import JournalReader
from tuner.study.records import Leased, Opened, Record
from tuner.study.state import StudyState
from tuner.study.status import WorkerStatus
from tuner.temporary_files import temporary_folder
from tuner.worker.chief_outage import outages_in

POLL_S = 0.5
STOP_S = 6.0
"""Seconds that children have after SIGTERM to save and to return their trials, before they are killed."""
DEATHS = 5
"""Number of deaths after which a child is not restarted, if it did no work between them."""

Watcher = Callable[[StudyState, list[Record], list[WorkerStatus]], None]


@dataclass(frozen=True)
class LocalStudy:
    """A study to run on this machine, with its bucket, folders and addresses."""

    study: Study
    values: Mapping[str, Any]
    """The settings for the children's study.yaml. Those of a study with a script have no defaults, because the script
    has some."""
    bucket: Bucket
    data_digest: str
    crew: Crew
    cache: Path
    logs: Path
    encryption: tls.Files | None
    """TLS files of this process. The children read the names of the files from the environment."""
    http: Address
    """Address of the chief's metrics."""
    page: Address
    """Address of the live page."""


@dataclass
class Child:
    """A child process that is restarted if it dies unexpectedly."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    deaths: int = 0
    """Number of deaths since the child last did any work."""
    _shown_bytes: int = 0
    """Number of bytes of the log of which the outages have been shown."""

    def start(self) -> None:
        """Start the process, and append its output to its log. Only the parent stops it; Ctrl-C does not reach it."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.process is None and self.log.exists():
            self._shown_bytes = self.log.stat().st_size  # an earlier run wrote these
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env={**_inherited(), **self.environment, names.ENV_PARENT: str(os.getpid())},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def exit_code(self) -> int | None:
        """Return the exit code, negative for a signal; None while the process runs."""
        return self.process.poll() if self.process else None

    def cpu_s(self) -> float:
        """Return how many seconds of the processor the process has used; 0.0 if it has ended or this is unknown."""
        try:
            stat = Path(f"/proc/{self.process.pid if self.process else 0}/stat").read_text()
        except OSError:  # not Linux
            return 0.0
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def stop(self, number: int) -> None:
        """Send the process a signal."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)

    def restart(self) -> None:
        """Restart the process after a death. Raises EnvironmentFailure after `DEATHS` deaths without any work."""
        self.deaths += 1
        if self.deaths >= DEATHS:
            raise self.no_work()
        self.start()

    def no_work(self) -> EnvironmentFailure:
        """Return the error of a process that died again and again without having done any work."""
        code = self.exit_code() or 0
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return EnvironmentFailure(
            f"{self.name} died {self.deaths} times without having done any work, the last time {how}. "
            f"Fix the cause; the last line of its log is: {self.last_line()}"
        )

    def new_outages(self) -> list[str]:
        """Return what the child has logged about an unreachable chief since the last call."""
        try:
            with self.log.open("rb") as log:
                log.seek(self._shown_bytes)
                text = log.read()
        except OSError:
            return []
        whole_lines = text[: text.rfind(b"\n") + 1]
        self._shown_bytes += len(whole_lines)
        return outages_in(whole_lines.decode(errors="replace"))

    def last_line(self) -> str:
        """Return the last line of the child's log, with the path of the log."""
        try:
            text = self.log.read_bytes()[-4000:].decode(errors="replace").strip().splitlines()
        except OSError:
            text = []
        return f"{text[-1].removeprefix('error: ') if text else 'none'} (whole log: {self.log})"


def run_search(local: LocalStudy, watch: Watcher, warn: Callable[[str], None]) -> None:
    """Run chief and workers until the search has finished.

    Args:
        local: The study, its bucket and addresses.
        watch: Called twice per second with the study's state and its new records.
        warn: Called with the reason if a worker cannot reach the chief.

    Raises:
        PreemptedError: Ctrl-C or SIGTERM was received, and the children have ended.
        CifakeTuneError: The error that ended a child.
    """
    with temporary_folder() as folder, reserved(Address("127.0.0.1", 0)) as chief_at, interruptible():
        file = Path(folder) / "study.yaml"
        file.write_text(yaml.safe_dump(dict(local.values)), encoding="utf-8")
        environment = {
            names.ENV_BUCKET: local.bucket.url,
            names.ENV_CACHE: str(local.cache),
            names.ENV_DATA: local.data_digest,
            names.ENV_STUDY_FILE: str(file),
            names.ENV_ORACLE_IP: "127.0.0.1",
            names.ENV_ORACLE_PORT: str(chief_at.port),
        }
        of_chief = chief_variables(local.crew.gpus) | {
            names.ENV_TUNER_ID: "chief",
            **page_variables(local.http, local.page, os.environ),
            names.ENV_SPARE: str(local.crew.spare),
        }
        chief = _child("chief", local, environment | of_chief)
        workers = [_worker(local, environment, index) for index in range(local.crew.workers)]
        reader = JournalReader(local.bucket, local.study.name)
        reader.poll()  # `watch` gets only the records that are written from now on
        try:
            for child in [chief, *workers]:
                child.start()
            with tls.open_channel(str(chief_at), local.encryption, lease_service.OPTIONS) as channel:
                outage = OutageWatch(local.study.retries.environment_s)
                _watch(reader, chief, workers, lease_service.LeaseStub(channel), watch, warn, outage)
        finally:
            stop_all(workers, STOP_S)
            stop_all([chief], STOP_S / 4)


def page_variables(http: Address, page: Address, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the process that serves metrics and live page. No other child gets the page's token."""
    options = (names.ENV_LIVE_PAGE_TOKEN, names.ENV_LIVE_PAGE_CERT, names.ENV_LIVE_PAGE_KEY)
    return {
        names.ENV_HTTP: str(http),
        names.ENV_LIVE_PAGE: str(page),
        **{name: environment[name] for name in options if name in environment},
    }


def run_evaluator(local: LocalStudy) -> None:
    """Run the evaluator. Raises the error that ended it."""
    environment = {
        names.ENV_BUCKET: local.bucket.url,
        names.ENV_CACHE: str(local.cache),
        names.ENV_SETTING + "NAME": local.study.name,
    } | evaluator_variables(local.crew.gpus)
    evaluator = _child("evaluate", local, environment)
    with interruptible():
        try:
            evaluator.start()
            while (code := evaluator.exit_code()) is None:
                time.sleep(POLL_S / 5)
        finally:
            stop_all([evaluator], STOP_S)
    if code:
        raise child_error(evaluator, code)


def end_with_parent() -> None:
    """Ask the kernel (Linux) to send SIGTERM to this process when the `run` that started it ends for any reason."""
    parent = os.environ.get(names.ENV_PARENT)
    if parent is None or not sys.platform.startswith("linux"):
        return
    if not parent.isdecimal() or len(parent) > 20:
        raise ConfigError(f"{names.ENV_PARENT} must be the id of a process, got {parent!r:.60}. Unset it.")
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
    if os.getppid() != int(parent):
        raise PreemptedError("the `cifake-tune run` that started this process has ended. Run it again to continue.")


def share_of_cores(workers: int) -> dict[str, str]:
    """Return the environment variables that limit each of `workers` processes to its share of the available cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = str(max(1, cores // workers))
    return {
        "TF_NUM_INTRAOP_THREADS": threads,
        "TF_NUM_INTEROP_THREADS": threads,
        "OMP_NUM_THREADS": threads,
        "NPROC": threads,  # XLA's CPU client, used by JAX
    }


def stop_all(children: list[Child], timeout_s: float) -> None:
    """Ask children to end, and kill those that still run after `timeout_s`."""
    for child in children:
        child.stop(signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    for child in children:
        if child.process is None:
            continue
        try:
            child.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.stop(signal.SIGKILL)
            child.process.wait()


def _worker(local: LocalStudy, environment: Mapping[str, str], index: int) -> Child:
    crew = local.crew
    own = share_of_cores(crew.workers) | worker_variables(crew.gpus, index, crew.workers, os.environ)
    name = f"worker-{index}"
    return _child("worker", local, {**environment, **own, names.ENV_TUNER_ID: name}, name)


def _child(role: str, local: LocalStudy, environment: Mapping[str, str], name: str | None = None) -> Child:
    return Child(name or role, program(role), environment, local.logs / f"{name or role}.log")


def program(role: str) -> list[str]:
    """Return the command of a child process."""
    script = Path(sys.executable).with_name("cifake-tune")
    return [str(script), role] if script.exists() else [sys.executable, "-m", "cifake_tune", role]


def _watch(
    reader: JournalReader,
    chief: Child,
    workers: list[Child],
    stub: lease_service.LeaseStub,
    watch: Watcher,
    warn: Callable[[str], None],
    outage: OutageWatch,
) -> None:
    starting = StartingChief()
    while True:
        records, status = reader.poll(), _status(stub)
        if any(isinstance(record, Opened) for record in records):
            starting.opens_study()
        starting.works(chief.cpu_s())
        outages = {worker.name: worker.new_outages() for worker in workers}
        for name, line in starting.shown(outages, {worker.worker for worker in status.workers}):
            warn(f"{name}: {line}.")
        if reader.state.study is not None:
            watch(reader.state, records, status.workers)
        reset_deaths(records, chief, workers)
        outage.follow(records)
        code = chief.exit_code()
        if code == 0:
            records = reader.poll()
            watch(reader.state, records, [])
            return
        if code is not None:
            if code > 0 and code != ExitCode.ENVIRONMENT:
                raise child_error(chief, code)
            chief.restart()
            starting.starts()
        for worker in workers:
            code = worker.exit_code()
            if code in (ExitCode.USAGE, ExitCode.INTERNAL):
                raise child_error(worker, code)
            if code and not reader.state.finished:
                worker.restart()
        recall(workers, status.wanted)
        time.sleep(POLL_S)


def recall(workers: list[Child], wanted: int | None) -> None:
    """Start workers again that the chief has dismissed, if the search can use more than those that are left.

    `wanted` is the number of workers that it can use; None if the chief does not answer, or has dismissed none.
    """
    missing = 0 if wanted is None else wanted - sum(worker.exit_code() is None for worker in workers)
    dismissed = [worker for worker in workers if worker.exit_code() == ExitCode.DONE and worker.process]
    for worker in dismissed[: max(0, missing)]:
        worker.start()


def reset_deaths(records: list[Record], chief: Child, workers: list[Child]) -> None:
    """Reset the deaths of children that have done work, because a trial that kills workers has its own retry budget."""
    working = {record.worker for record in records if isinstance(record, Leased)}
    for child in [chief, *workers] if working else []:
        if child is chief or child.name in working:
            child.deaths = 0


def _inherited() -> dict[str, str]:
    """Return this process's environment without the settings, because a child gets all settings in its study.yaml.

    The log's format is also removed, so that the last line of a child's log is text that can be shown to the user. The
    variables of the metrics and the live page are also removed, because only the chief serves them, and the number of
    processes, because it would make a supervisor of each worker.
    """
    of_chief = names.ENV_HTTP, names.ENV_LIVE_PAGE  # and those that begin so
    excluded = (names.ENV_SETTING, names.ENV_STUDY_FILE, names.ENV_LOG_FORMAT, names.ENV_PROCESSES, *of_chief)
    return {name: value for name, value in os.environ.items() if not name.startswith(excluded)}


def _status(stub: lease_service.LeaseStub) -> lease_service.Status:
    try:
        return stub.status(timeout_s=POLL_S)
    except grpc.RpcError:
        return lease_service.Status(workers=[])  # the chief is starting, or busy


def child_error(child: Child, code: int) -> CifakeTuneError:
    """Return the error that ended a child with this exit code."""
    kinds: dict[int, type[CifakeTuneError]] = {
        ExitCode.INTERNAL: InternalError,
        ExitCode.USAGE: UsageError,
        ExitCode.NO_RESULT: NoResultError,
        ExitCode.FENCED: FencedError,
        ExitCode.PREEMPTED: PreemptedError,
    }
    problem = child.last_line() if code > 0 else f"the process was killed by signal {-code} (its log: {child.log})"
    return kinds.get(code, EnvironmentFailure)(f"{child.name}: {problem}")


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into a PreemptedError in the main thread."""

    def handle(number: int, frame: FrameType | None) -> None:
        for ignored in (signal.SIGINT, signal.SIGTERM):
            signal.signal(ignored, signal.SIG_IGN)  # the process is already ending
        raise PreemptedError(
            "the command was stopped. All finished work is saved; run the same command again to resume."
        )

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
