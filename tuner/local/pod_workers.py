"""Runs several worker processes in one pod, which share its GPU, its memory and the unpacked data.

A process that dies is started again, and the others continue. A process that ends with 0 has no trial left, and is not
started again. When all have ended so, the pod ends with 0 too. An error that all processes would repeat ends the pod,
and so does a newer process of the same name.
"""

import os
import threading
import time
from contextlib import ExitStack, suppress
from http import HTTPStatus
from pathlib import Path

from tuner import names
from tuner.address import Address, reserved
from tuner.errors import ExitCode
from tuner.local.children import POLL_S, child_error, interruptible, program, share_of_cores, stop_all
from tuner.local.gpu_inventory import GpuInventory
from tuner.local.gpu_room import GpuRoom
from tuner.local.gpus import worker_variables
from tuner.local.pod_process import PodProcess
from tuner.monitoring.endpoint import FINE, Monitor, Phase
from tuner.monitoring.http_server import Request, Response, plain
from tuner.monitoring.log_format import LogFormat
from tuner.monitoring.merged import metrics_route, page, pages
from tuner.study.status import process_name
from tuner.temporary_files import temporary_folder
from tuner.worker.memory_sharing import write_number

STOP_S = 22.0
"""Seconds that the processes have after SIGTERM. Each ends within 20 s; the pod is killed after 30 s by default."""
CHECK_S = 20.0
"""Seconds between two checks of the processes' health, as between the probes of a pod with one worker."""
FAILURES, STARTING_FAILURES = 6, 30
"""Number of consecutive failed checks after which a process is killed, and at its start, when it imports Keras."""
TICKS_S = 60.0
"""Seconds without a tick after which the supervisor itself is not healthy."""


class PodWorkers:
    """The processes of a pod.

    Args:
        name: Name of the pod's worker; those of its processes are `name-0`, `name-1` and so on.
        processes: Number of processes, or the room by which they are counted (`perGPU: auto`).
        gpus: GPUs of the pod.
        form: Format of the processes' logs.
    """

    def __init__(self, name: str, processes: int | GpuRoom, gpus: GpuInventory, form: LogFormat) -> None:
        self._name, self._gpus, self._form = name, gpus, form
        self._room = processes if isinstance(processes, GpuRoom) else None
        self._first = 1 if isinstance(processes, GpuRoom) else processes
        self._stack = ExitStack()
        self.children: list[PodProcess] = []
        self.addresses: dict[str, Address] = {}
        """Addresses of the processes' health and metrics, by the number of the process."""
        self._shared: Path | None = None
        """File with the number of processes that share the memory, if it varies."""
        self._written = 0
        self._ticked = time.monotonic()
        self._unhealthy: set[str] = set()

    def run(self, monitor: Monitor) -> None:
        """Run the processes until all have ended. Raises PreemptedError, and an error that ended the pod."""
        self._show(monitor)
        with self._stack, interruptible():
            checks = threading.Event()
            threading.Thread(target=self._check_health, args=[checks], name="health", daemon=True).start()
            if self._room:
                self._shared = Path(self._stack.enter_context(temporary_folder()), "processes")
            try:
                for _ in range(self._first):
                    self._add()
                while any(not self._has_left(child) for child in self.children):
                    self._tick()
                    time.sleep(POLL_S)
            finally:
                checks.set()
                stop_all(list(self.children), STOP_S)

    def _add(self) -> None:
        number = len(self.children)
        http = self._stack.enter_context(reserved(Address("127.0.0.1", 0)))
        count = self._room.most if self._room else self._first
        own = share_of_cores(self._first) | worker_variables(self._gpus, number, count, os.environ)
        if self._room:
            own.pop("XLA_PYTHON_CLIENT_MEM_FRACTION", None)  # the number of processes is not known yet
        name = process_name(self._name, number)
        environment = {**own, names.ENV_TUNER_ID: name}
        if self._shared:
            environment[names.ENV_SHARING] = str(self._shared)
        child = PodProcess(name, program("worker"), environment, Path(), http=http, form=self._form)
        self.children.append(child)
        self._share()
        self.addresses[str(number)] = http
        child.start()

    def _tick(self) -> None:
        self._ticked = time.monotonic()
        for child in self.children:
            if not child.leaves:
                child.start_if_due()
            code = child.exit_code()
            if code is None or code == ExitCode.DONE or child.leaves or child.is_pausing:
                continue
            if code in (ExitCode.USAGE, ExitCode.INTERNAL, ExitCode.FENCED):
                raise child_error(child, code)
            print(f"[{child.name}] ended with {code}, and is started again", flush=True)  # noqa: T201
            if self._room and code < 0 and not child.was_killed:
                self._room.ran_out(self._running())
            child.died()
            if all(other.keeps_dying for other in self.children if not self._has_left(other)):
                raise child.no_work()  # the Job replaces the pod, with a back-off
        for name in list(self._unhealthy):
            self._unhealthy.discard(name)
            self.children[int(name)].kill()
        if self._room:
            self._follow(self._room)
            self._share()

    def _follow(self, room: GpuRoom) -> None:
        """Add a process if there is room, and let the newest go if one ran out of memory.

        None is added once a process has found no trial left, because the chief would dismiss the new one, too.
        """
        running = self._running()
        wanted = room.wanted(running, self.addresses)
        if wanted > running:
            if not any(child.is_pausing or child.exit_code() == ExitCode.DONE for child in self.children):
                self._add()
        elif wanted < running:
            newest = next(child for child in reversed(self.children) if not self._has_left(child))
            newest.leaves = True
            newest.stop(15)

    def _share(self) -> None:
        """Tell the processes how many of them use memory, those included that are still leaving."""
        number = sum(c.exit_code() is None or (c.is_pausing and not c.leaves) for c in self.children)
        if self._shared and number != self._written:
            with suppress(OSError):  # if the disk is full, the next call tries again
                write_number(self._shared, number)
                self._written = number

    def _running(self) -> int:
        return sum(not self._has_left(child) for child in self.children)

    @staticmethod
    def _has_left(child: PodProcess) -> bool:
        """Return whether a process has ended, or was asked to end, and is not started again."""
        return child.leaves or (child.exit_code() == ExitCode.DONE and not child.is_pausing)

    # ---- what the pod shows -------------------------------------------------------------------------

    def _show(self, monitor: Monitor) -> None:
        monitor.routes[names.HTTP_METRICS] = metrics_route(self.addresses)
        for path in (names.HTTP_READY, names.HTTP_HEALTHY):
            monitor.prefixes[f"{path}/"] = self._of_process
        monitor.enter(Phase(ready=self._ready, healthy=self._healthy))

    def _healthy(self) -> str:
        late_s = time.monotonic() - self._ticked
        return f"the processes have not been watched for {late_s:.0f} s" if late_s > TICKS_S else FINE

    def _ready(self) -> str:
        """Return FINE if any process is ready, else what each of them lacks."""
        found = pages(dict(self.addresses), names.HTTP_READY)
        if any(answer and answer[0] == 200 for answer in found.values()):
            return FINE
        problems = [f"{self._name}-{number}: {_problem(answer)}" for number, answer in found.items()]
        return "; ".join(problems) or "no process has been started"

    def _of_process(self, request: Request) -> Response:
        """Answer `/readyz/N` and `/healthz/N` as process N does."""
        path, _, number = request.path.rpartition("/")
        if (address := self.addresses.get(number)) is None:
            return plain("there is no such process", HTTPStatus.NOT_FOUND)
        answer = page(address, path)
        return plain(_problem(answer), HTTPStatus(answer[0]) if answer else HTTPStatus.SERVICE_UNAVAILABLE)

    def _check_health(self, ended: threading.Event) -> None:
        """Find processes that are not healthy for as long as a pod's liveness probe tolerates."""
        failures: dict[str, int] = {}
        was_healthy: set[str] = set()
        while not ended.wait(CHECK_S):
            for number, answer in pages(dict(self.addresses), names.HTTP_HEALTHY).items():
                child = self.children[int(number)]
                if child.exit_code() is not None:
                    was_healthy.discard(number)
                    failures[number] = 0
                elif answer and answer[0] == 200:
                    was_healthy.add(number)
                    failures[number] = 0
                else:
                    failures[number] = failures.get(number, 0) + 1
                    if failures[number] >= (FAILURES if number in was_healthy else STARTING_FAILURES):
                        print(f"[{child.name}] is not healthy ({_problem(answer)}), and is ended", flush=True)  # noqa: T201
                        self._unhealthy.add(number)
                        failures[number] = 0


def _problem(answer: tuple[int, str] | None) -> str:
    return answer[1].strip() if answer else "the process does not answer"
