"""Which faults happen, in which order: made from a seed alone."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """A fault; the number says how many there are of it among SHARES."""

    KILL_WORKER = "a worker killed, and started again", 7
    STOP_WORKER = "a worker stopped by SIGTERM, and started again", 4
    FREEZE_WORKER = "a worker frozen for longer than its lease, and woken", 6
    PAUSE_WORKER = "a worker frozen for less than its lease", 2
    WORKER_JOINS = "another worker joins", 2
    WORKER_LEAVES = "a worker leaves for good", 2
    KILL_CHIEF = "the chief killed, and started again", 3
    STOP_CHIEF = "the chief stopped by SIGTERM, and started again", 2
    FREEZE_CHIEF = "the chief frozen, and woken", 1
    TWO_CHIEFS = "a second chief started beside the first", 1
    ZOMBIE_CHIEF = "the chief frozen, replaced, and woken", 1
    BUCKET_SLOW = "bucket: 50 ms of latency", 2
    BUCKET_UNAVAILABLE = "bucket: 10 % of requests answered 503", 2
    BUCKET_BUSY = "bucket: 10 % of requests answered 429", 2
    BUCKET_CUT = "bucket: 10 % of connections cut, before or after the work is done", 2
    BUCKET_STALLED = "bucket: 5 % of requests stall", 1
    BUCKET_FULL = "bucket: full, so that no model fits any more", 1
    DISK_FULL = "the workers' disk full", 1

    @property
    def sentence(self) -> str:
        """What happens."""
        return str(self.value[0])

    @property
    def share(self) -> int:
        """How many there are among SHARES."""
        return int(self.value[1])


SHARES = sum(kind.share for kind in Kind)


@dataclass(frozen=True)
class Fault:
    """One fault. `victim` (0 to 1) chooses among those that it can befall; `weight` (0 to 1) how long it lasts."""

    kind: Kind
    victim: float
    weight: float


def make_schedule(seed: int, faults: int, left_out: frozenset[Kind] = frozenset()) -> tuple[Fault, ...]:
    """Return as many faults; every SHARES of them have each kind by its share, and fewer have different ones first."""
    rng = random.Random(seed)
    kinds = (kind for kind in _deck(rng) if kind not in left_out)
    return tuple(Fault(next(kinds), rng.random(), rng.random()) for _ in range(faults))


def _deck(rng: random.Random) -> Iterator[Kind]:
    while True:
        first = list(Kind)
        more = [kind for kind in Kind for _ in range(kind.share - 1)]
        rng.shuffle(first)
        rng.shuffle(more)
        yield from first
        yield from more
