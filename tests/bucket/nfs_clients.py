"""Two NFS clients use one folder as a bucket; each line of the output is a claim, and whether it holds.

`test_nfs.py` runs this within a kernel that has the clients: `nfs_clients.py VERSION FOLDER_OF_A FOLDER_OF_B`.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tuner.bucket import Bucket, open_bucket
from tuner.errors import ObjectExistsError

WRITERS = 32
LARGE_BYTES = 30 << 20
version, folder_a, folder_b = sys.argv[1:]
a, b = open_bucket(folder_a), open_bucket(folder_b)


def tell(line: str) -> None:
    sys.stdout.write(f"NFS {version}: {line}\n")
    sys.stdout.flush()


def claim(sentence: str, holds: bool) -> None:
    tell(f"{sentence}: {'yes' if holds else 'NO'}")
    if version == "3":
        time.sleep(0.05)  # longer than the resolution of the server's times, by which a client sees a change


def all_of(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def refused(attempt: Callable[[], None]) -> bool:
    try:
        attempt()
    except ObjectExistsError:
        return True
    return False


a.write("first", b"")
claim("an object is seen by the other client", b.read("first") == b"")
claim("a missing object is missing", not b.exists("runs/x") and list(b.list()) == ["first"])
(Path(folder_b) / "runs" / "x").exists()
a.create("runs/x", b"1")
claim("a plain look-up sees no object that appeared after an earlier one", not (Path(folder_b) / "runs" / "x").exists())
claim("a created object exists", b.exists("runs/x") and b.read("runs/x") == b"1")
claim("a created object is listed", list(b.list()) == ["first", "runs/x"])
claim("a second create is refused", refused(lambda: b.create("runs/x", b"2")))
a.write("runs/x", b"22")
claim("a replaced object is read", b.read("runs/x") == b"22")
a.delete("runs/x")
claim("a deleted object is gone", not b.exists("runs/x") and list(b.list()) == ["first"])
b.create("runs/x", b"3")
claim("an object in a folder that was deleted is seen", a.read("runs/x") == b"3" and list(a.folders("")) == ["runs"])
a.exists("runs/y")
b.create("runs/y", b"")
a.delete("runs/y")
claim("an object that was missing before is deleted", not b.exists("runs/y"))

winners: list[tuple[int, int]] = []


def compete(bucket: Bucket, number: int, race: int) -> None:
    if not refused(lambda: bucket.create(f"race/{race}", str(number).encode())):
        winners.append((race, number))


for race in range(10):
    all_of([threading.Thread(target=compete, args=((a, b)[n % 2], n, race)) for n in range(WRITERS)])
claim(
    f"one of {WRITERS} writers creates an object, ten times",
    sorted(race for race, _ in winners) == list(range(10))
    and all(bucket.read(f"race/{race}") == str(n).encode() for race, n in winners for bucket in (a, b)),
)

torn: list[object] = []
written = threading.Event()


def read_until_written() -> None:
    while not written.is_set():
        try:
            data = b.read("large")
        except Exception as error:  # whatever it is, a reader must not see it
            torn.append(error)
            return
        if len(data) != LARGE_BYTES or len(set(data)) != 1:
            torn.append(data[:1])


a.write("large", bytes(LARGE_BYTES))
reader = threading.Thread(target=read_until_written)
reader.start()
for content in range(1, 10):
    a.write("large", bytes([content]) * LARGE_BYTES)
written.set()
reader.join()
claim("an object is read completely while it is replaced", not torn)

with open(f"{folder_a}/large", "rb"):
    a.write("large", b"")
    hidden = [name for name in os.listdir(folder_a) if name.startswith(".nfs")]
    claim("a file that is open is renamed, and not listed", len(hidden) == 1 and hidden[0] not in a.list())

failures: list[object] = []


def write_and_delete(bucket: Bucket, number: int) -> None:
    try:
        for _ in range(40):
            bucket.write(f"deep/folder/{number}", b"1")
            bucket.delete(f"deep/folder/{number}")
    except Exception as error:  # as above
        failures.append(error)


all_of([threading.Thread(target=write_and_delete, args=((a, b)[n % 2], n)) for n in range(4)])
claim("folders that others delete meanwhile do not stop a writer", not failures)
for problem in (*torn, *failures):
    tell(repr(problem))
