"""Time from a worker's imports to its first batch, and its memory; prints a JSON line.

usage: python -m bench.scaling.opening BUCKET DIGEST CACHE
"""

import json
import sys
import threading
import time
from pathlib import Path

BATCH, TIMED = 128, 200


def main() -> None:
    """Open the training images like a worker, and gather batches of one epoch."""
    from tuner.bucket import open_bucket
    from tuner.data.arrays import open_training
    from tuner.data.manifest import read_manifest
    from tuner.training.activities import Activities
    from tuner.training.batches import Batches

    bucket, digest, cache = open_bucket(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    with Memory() as memory:
        began = time.perf_counter()
        manifest = read_manifest(bucket, digest)
        read = time.perf_counter()
        training = open_training(bucket, manifest, 0.1, 1, cache)
        batches = Batches(training.train, BATCH, Activities(), seed=1)
        batches.begin(0)
        batches[0]
        first = time.perf_counter()
        for index in range(min(TIMED, len(batches))):
            batches[index]
        ended = time.perf_counter()
    print(json.dumps({
        "manifest_s": read - began,
        "first_batch_s": first - began,
        "batch_ms": 1000 * (ended - first) / min(TIMED, len(batches)),
        "memory_mib": memory.peak_mib - memory.before_mib,
    }))  # fmt: skip


class Memory:
    """Peak anonymous memory of this process within the block, which is not shared with other processes."""

    def __enter__(self) -> "Memory":
        self.before_mib = self.peak_mib = anonymous_mib()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.01):
            self.peak_mib = max(self.peak_mib, anonymous_mib())


def anonymous_mib() -> float:
    """Return the anonymous memory of this process in MiB; Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1024


if __name__ == "__main__":
    main()
