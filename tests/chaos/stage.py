"""What a chaos run plays on: chiefs, workers and the network, and what each fault does to them."""

import time
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

from tests.chaos.cast import Cast, Process
from tests.chaos.evidence import Reign, Role
from tests.chaos.front import Front
from tests.chaos.schedule import Fault, Kind
from tests.support.disks import fill
from tests.support.fault_proxy import FaultProxy, Faults
from tests.support.gcs_emulator import free_port
from tuner import names

MOST_WORKERS = 6
RESTART_S = 2.0
"""Whatever restarts processes takes up to so long."""
BUCKET_S = (3.0, 9.0)
"""How long the network is bad."""
STALL_S = 4.0
TELL_S = 6.0
"""A worker that lost its chief tries again every 3 s or a little more, and then beats once a second."""

BUCKET_FAULTS = {
    Kind.BUCKET_SLOW: Faults(latency_s=0.05),
    Kind.BUCKET_UNAVAILABLE: Faults(unavailable=0.1),
    Kind.BUCKET_BUSY: Faults(too_many=0.1),
    Kind.BUCKET_CUT: Faults(cut_before=0.05, cut_after=0.05),
    Kind.BUCKET_STALLED: Faults(stall=0.05),
    Kind.BUCKET_FULL: Faults(full=1.0),
}


@dataclass
class Stage:
    """Chiefs, workers and the network; `tick` does what has come due."""

    cast: Cast
    front: Front
    proxy: FaultProxy
    lease_s: float
    disk: Path
    """A small file system, which has the temporary files of all workers."""
    over: bool = False
    """The search is over: what ends is not started again."""
    reigns: list[Reign] = field(default_factory=list)
    """Until now."""
    _workers: set[str] = field(default_factory=set)
    """Names of those that are to be there."""
    _joined: int = 0
    _later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    _bad: list[Kind] = field(default_factory=list)
    """Of the network."""
    _reigning: tuple[Process, float] | None = None
    """The only chief, and since when it has been there."""

    def add_worker(self) -> None:
        """Start a worker that was not there before."""
        name = f"worker-{self._joined}"
        self._joined += 1
        self._workers.add(name)
        self._start_worker(name)

    def start_chief(self) -> Process:
        """Start a chief; those that are there will find themselves replaced."""
        for older in self.cast.of(Role.CHIEF):
            older.replaced = True
        port = free_port()
        environment = {**self._address(port), names.ENV_TUNER_ID: "chief", names.ENV_SPARE: str(MOST_WORKERS)}
        chief = self.cast.start("chief", Role.CHIEF, port, **environment)  # faults need workers to the end
        self.front.add(port)
        return chief

    def tick(self) -> None:
        """Do what has come due, and start again what has ended."""
        self._see_who_reigns()
        now = time.monotonic()
        due = [action for at, action in self._later if at <= now]
        self._later = [(at, action) for at, action in self._later if at > now]
        for action in due:
            action()
        self._pardon_the_last_chief()
        for process in self.cast.take_leave():
            if process.role is Role.CHIEF:
                self.front.remove(process.port)
                if process.popen.returncode == 0:
                    self._end()
                if not self.over and not self.cast.of(Role.CHIEF):
                    self._in(RESTART_S / 2, self._replace_chief)
            elif not self.over and process.name in self._workers:
                self._in(RESTART_S / 2, partial(self._restart_worker, process.name))

    def play(self, fault: Fault, at_work: Set[str]) -> bool:
        """Do what a fault says; false where it can befall nobody now. `at_work` have a trial to lose."""
        kind = fault.kind
        if kind in BUCKET_FAULTS:
            self._spoil_network(kind, BUCKET_S[0] + fault.weight * (BUCKET_S[1] - BUCKET_S[0]))
        elif kind is Kind.DISK_FULL:
            fill(self.disk)
            seconds = BUCKET_S[0] + fault.weight * (BUCKET_S[1] - BUCKET_S[0])
            self._in(seconds, lambda: (self.disk / "ballast").unlink(missing_ok=True))
        elif kind is Kind.WORKER_JOINS:
            if len(self._workers) >= MOST_WORKERS:
                return False
            self.add_worker()
        elif kind in (Kind.KILL_CHIEF, Kind.STOP_CHIEF, Kind.FREEZE_CHIEF, Kind.TWO_CHIEFS, Kind.ZOMBIE_CHIEF):
            return self._play_chief(kind, fault)
        else:
            return self._play_worker(kind, fault, at_work)
        return True

    def _end(self) -> None:
        self.over = True
        for worker in self.cast.of(Role.WORKER):
            if not worker.ready and not worker.frozen:
                worker.late = True  # it would wait for minutes for a chief that has done its work
                worker.terminate()

    # ---- workers ------------------------------------------------------------------------------------

    def _play_worker(self, kind: Kind, fault: Fault, at_work: Set[str]) -> bool:
        victims = [worker for worker in self.cast.of(Role.WORKER) if worker.ready and not worker.terminated]
        if kind in (Kind.KILL_WORKER, Kind.FREEZE_WORKER):  # of one that waits, nothing can be lost
            victims = [worker for worker in victims if worker.name in at_work]
        if not victims or (kind is Kind.WORKER_LEAVES and len(self._workers) < 2):
            return False
        victim = victims[int(fault.victim * len(victims))]
        match kind:
            case Kind.KILL_WORKER:
                victim.kill()
            case Kind.STOP_WORKER:
                victim.terminate()
            case Kind.WORKER_LEAVES:
                self._workers.discard(victim.name)
                victim.terminate()
            case Kind.FREEZE_WORKER:
                victim.freeze()
                self._in(self.lease_s * (1.5 + fault.weight), victim.wake)
            case Kind.PAUSE_WORKER:
                victim.freeze()
                self._in(self.lease_s * fault.weight / 2, victim.wake)
        return True

    def _start_worker(self, name: str) -> None:
        self.cast.start(name, Role.WORKER, 0, **self._address(self.front.port), **{names.ENV_TUNER_ID: name})

    def _restart_worker(self, name: str) -> None:
        if not self.over:
            self._start_worker(name)

    # ---- chiefs -------------------------------------------------------------------------------------

    def _play_chief(self, kind: Kind, fault: Fault) -> bool:
        chiefs = self.cast.of(Role.CHIEF)
        if len(chiefs) != 1 or not chiefs[0].ready or chiefs[0].killed or chiefs[0].terminated:
            return False
        chief = chiefs[0]
        match kind:
            case Kind.KILL_CHIEF:
                chief.kill()
            case Kind.STOP_CHIEF:
                chief.terminate()
            case Kind.FREEZE_CHIEF:
                chief.freeze()
                self._in(self.lease_s * (0.5 + fault.weight), chief.wake)
            case Kind.TWO_CHIEFS:
                self.start_chief()
            case Kind.ZOMBIE_CHIEF:
                chief.freeze()
                self._wake_when_replaced(chief, self.start_chief(), fault.weight * RESTART_S)
        return True

    def _replace_chief(self) -> None:
        if not self.over and not self.cast.of(Role.CHIEF):
            self.start_chief()

    def _see_who_reigns(self) -> None:
        now = time.time()
        chiefs = [chief for chief in self.cast.of(Role.CHIEF) if chief.popen.poll() is None]
        only = chiefs[0] if len(chiefs) == 1 and chiefs[0].ready else None
        if only and (only.killed or only.terminated):
            only = None  # it is about to go, and hears nobody
        if only is None:
            self._reigning = None
        elif self._reigning is None or self._reigning[0] is not only:
            self._reigning = only, now
        elif (first := self._reigning[1] + TELL_S) <= now:
            if self.reigns and self.reigns[-1].first == first:
                self.reigns.pop()
            self.reigns.append(Reign(first, now))

    def _pardon_the_last_chief(self) -> None:
        """One that ended the search before a newer chief had opened its term was not replaced by it."""
        chiefs = self.cast.of(Role.CHIEF)
        for older, newer in pairwise(chiefs):
            if older.popen.poll() == 0 and not newer.ready:
                older.replaced = False

    def _wake_when_replaced(self, old: Process, new: Process, after_s: float) -> None:
        if new.ready or new not in self.cast.living:
            self._in(after_s, old.wake)
        else:
            self._in(0.1, lambda: self._wake_when_replaced(old, new, after_s))

    # ---- the network --------------------------------------------------------------------------------

    def _spoil_network(self, kind: Kind, seconds: float) -> None:
        self._bad.append(kind)
        self._in(seconds, lambda: self._mend_network(kind))
        self._set_network()

    def _mend_network(self, kind: Kind) -> None:
        self._bad.remove(kind)
        self._set_network()

    def _set_network(self) -> None:
        bad = [BUCKET_FAULTS[kind] for kind in set(self._bad)]
        self.proxy.faults = Faults(
            seed=self.proxy.faults.seed,
            stall_s=STALL_S,
            latency_s=sum(faults.latency_s for faults in bad),
            unavailable=sum(faults.unavailable for faults in bad),
            too_many=sum(faults.too_many for faults in bad),
            full=sum(faults.full for faults in bad),
            cut_before=sum(faults.cut_before for faults in bad),
            cut_after=sum(faults.cut_after for faults in bad),
            stall=sum(faults.stall for faults in bad),
        )

    # ---- inside -------------------------------------------------------------------------------------

    def _in(self, seconds: float, action: Callable[[], None]) -> None:
        self._later.append((time.monotonic() + seconds, action))

    @staticmethod
    def _address(port: int) -> dict[str, str]:
        return {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: str(port)}
