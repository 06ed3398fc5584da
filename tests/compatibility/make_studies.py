"""Makes the two studies of a version in this folder: of commit 167ab1e, before the files were moved, or of a release.

    python tests/compatibility/make_studies.py CHECKOUT/.venv-jax/bin/python NEW_FOLDER
    PYTHONPATH=SOURCES python tests/compatibility/make_studies.py PYTHON NEW_FOLDER 0.1.0

The interpreter has JAX, and in the first case that commit of cifake-tune installed. In the second, SOURCES are those of
`release-0.1.0.tar.xz`, and the archives are called `finished-0.1.0.tar.xz` and `unfinished-0.1.0.tar.xz`.

`unfinished.tar.xz` is a search whose processes were all killed while its second trial was training; `finished.tar.xz`
is what the same program then made of it, to the report. So the second one says, to the last bit, what the first one
must become.

The program takes a snapshot after 512 records. This search has fewer, so its own class is called here to write one.
"""

import os
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
STUDY, SIDE, TRAIN, TEST = "compatible", 8, 40, 8
KILLED_AT = 3
"""The second trial is killed when this epoch (from 0) is reported."""
SETTINGS = (
    *("name=compatible", "space.import=exact_space:Exact", "space.code=space", "data.batch_size=16"),
    *("data.validation=0.2", "training.epochs=8", "search.max_trials=4", "search.objective=val_loss"),
    *("search.early_stopping.min_epochs=2", "leases.duration_s=3", "evaluation.robustness_images=4"),
)
FIGURES = ("confusion_matrix.png", "robustness.png", "calibration.png")
"""Of the evaluation; too large to be kept, and no command reads them."""
PRIVATE = (os.environ["HOME"], "/tmp/")
"""Texts that must not be in an archive: paths of the machine that it was made on."""
SNAPSHOT = """
import sys
from tuner import names
try:
    from tuner.study import journal, snapshots, state as trials
except ImportError:
    from tuner import journal, snapshots, trials
from pathlib import Path
from tuner.bucket.local import LocalBucket
bucket, state, last = LocalBucket(Path(sys.argv[1])), trials.StudyState(), int(sys.argv[3])
for number in range(1, last + 1):
    name = names.journal_segment(sys.argv[2], number)
    for record in journal.decode(name, bucket.read(name)):
        state.apply(record)
snapshots.RECORDS = 1
snapshotter = snapshots.Snapshotter(bucket, state)
snapshotter.write(last, snapshotter.take(last, True))
"""


def images(folder: Path) -> None:
    """Write images of four squares, in multiples of 64; those of the second class are redder."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(("FAKE", "REAL")):
        for split, count in (("train", TRAIN), ("test", TEST)):
            place = folder / split / name
            place.mkdir(parents=True)
            for number in range(count):
                squares = rng.integers(0, 2, (2, 2, 3))
                squares[..., 0] += label * rng.integers(0, 3, (2, 2))
                pixels = (64 * squares).astype(np.uint8).repeat(SIDE // 2, 0).repeat(SIDE // 2, 1)
                Image.fromarray(pixels).save(place / f"{number:02d}.png", optimize=True)


def cache_of(folder: Path) -> Path:
    """Return where the search's processes have their cache and their logs."""
    return folder.parent / f"{folder.name}-cache"


def started(python: str, folder: Path) -> "subprocess.Popen[bytes]":
    """Start the search in the folder, in a session of its own."""
    module = "tuner.cli" if "PYTHONPATH" in os.environ else "cifake_tune"
    command = [python, "-m", module, "run", "--data", "images", "--bucket", "bucket", "--workers", "1"]
    for setting in SETTINGS:
        command += ["--set", setting]
    environment = {key: os.environ[key] for key in ("PATH", "HOME", "PYTHONPATH") if key in os.environ}
    environment |= {"KERAS_BACKEND": "jax", "CIFAKE_TUNE_CACHE": str(cache_of(folder)), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True)


def segments(folder: Path) -> list[Path]:
    """Return the files of the journal."""
    return sorted((folder / "bucket" / "studies" / STUDY / "journal").glob("*.jsonl"))


def processes_of(folder: Path) -> list[int]:
    """Return the ids of a search's processes, which share its cache."""
    mark = f"CIFAKE_TUNE_CACHE={cache_of(folder)}\0".encode()
    pids = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and mark in (entry / "environ").read_bytes():
                pids.append(int(entry.name))
        except OSError:
            continue  # it has just ended, or is not ours
    return pids


def has(folder: Path, record: str) -> bool:
    """Return whether the journal has a record with this text in it."""
    return any(record.encode() in file.read_bytes() for file in segments(folder))


def wait_for(folder: Path, record: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the journal has a record with this text in it."""
    while not has(folder, record):
        assert process.poll() is None, f"the search ended before {record}"
        time.sleep(0.01)


def kill_in_the_second_trial(python: str, folder: Path) -> None:
    """Search until the second trial has reported, then kill every process."""
    process = started(python, folder)
    wait_for(folder, '"kind":"leased","trial":"00001"', process)
    (folder / "hold").touch()
    wait_for(folder, f'"kind":"reported","trial":"00001","attempt":1,"epoch":{KILLED_AT},', process)
    while pids := processes_of(folder):
        for number in pids:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
    process.wait()
    (folder / "hold").unlink()
    checkpoints = sorted((folder / "bucket" / "studies" / STUDY / "trials" / "00001" / "1").glob("*.keras"))
    assert checkpoints[-1].name == f"{KILLED_AT:05d}.keras", f"{checkpoints[-1].name} was saved, too"


def pack(folder: Path, archive: Path) -> None:
    """Write a folder as an archive that names neither this machine nor its user."""

    def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = 0
        return member

    with tarfile.open(archive, "w:xz") as writer:
        for path in sorted(folder.rglob("*")):
            if path.name not in FIGURES:
                assert path.is_dir() or not any(text.encode() in path.read_bytes() for text in PRIVATE), path
                writer.add(path, str(path.relative_to(folder)), recursive=False, filter=anonymous)
    assert archive.stat().st_size < 100_000


def main() -> None:
    """Make both."""
    python, work = sys.argv[1], Path(sys.argv[2])
    suffix = "".join(f"-{version}" for version in sys.argv[3:])
    folder = work / "study"
    images(folder / "images")
    (folder / "space").mkdir()
    (folder / "space" / "exact_space.py").write_bytes((HERE / "space" / "exact_space.py").read_bytes())
    kill_in_the_second_trial(python, folder)
    bucket = folder / "bucket"
    subprocess.run([python, "-c", SNAPSHOT, bucket, STUDY, str(len(segments(folder)) - 5)], cwd=work, check=True)
    pack(folder, work / f"unfinished{suffix}.tar.xz")
    process = started(python, folder)
    assert process.wait() == 0
    pack(folder, work / f"finished{suffix}.tar.xz")


if __name__ == "__main__":
    main()
