"""The space of the chaos test on a cluster: it marks each epoch that it trains, on a volume that outlives every pod.

By itself but for `mean_colour`, since nothing of the tests is in the image: the lines are those of
`tests.chaos.evidence.Mark`. It trains slowly until /marks/hurry is there, and runs out of memory once for each
/marks/oom-WORKER.
"""

import json
import os
import random
import time
from pathlib import Path

from mean_colour import EpochMarks, MeanColour

FOLDER = Path("/marks")
WORKER = os.environ.get("KERASTUNER_TUNER_ID", "")  # none in the evaluator
PROCESS = random.SystemRandom().randrange(2**31)  # every container's pid is 1
SLOW_S = 0.3
PIECE_BYTES = 64 << 20


class MarkingSpace(MeanColour):
    """Its trials last as long as the test wants."""

    def marks(self, key):
        return Marks(key)


class Marks(EpochMarks):
    """Writes down what is trained."""

    def on_train_batch_end(self, batch, logs=None):
        order = FOLDER / f"oom-{WORKER}"
        if order.exists():
            order.unlink()
            exhaust_memory()
        if not (FOLDER / "hurry").exists():
            time.sleep(SLOW_S)

    def mark(self, what, epoch):
        mark = {"at": time.time(), "worker": WORKER, "pid": PROCESS, "key": self.key, "what": what, "epoch": epoch}
        descriptor = os.open(FOLDER / "marks.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, json.dumps(mark).encode() + b"\n")
        finally:
            os.close(descriptor)


def exhaust_memory():
    """Take memory until the kernel kills us."""
    hoard = []
    while True:
        hoard.append(b"x" * PIECE_BYTES)
