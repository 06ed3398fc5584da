"""What every kind of bucket promises."""

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.children import child, output_of
from tuner.bucket import Bucket, open_bucket
from tuner.errors import BucketError, ObjectExistsError, ObjectNotFoundError

VALID_NAMES = ["a", "a b", "a+b", "a#c?d", "%41", "é", "\U0001d11e", "x" * 200, ".hidden", "..a", "a/.b/c"]


@pytest.mark.parametrize("name", VALID_NAMES)
def test_what_was_written_is_read(bucket: Bucket, name: str) -> None:
    bucket.write(name, b"bytes of " + name.encode())
    assert bucket.read(name) == b"bytes of " + name.encode()
    assert bucket.exists(name)
    assert list(bucket.list()) == [name]


@pytest.mark.parametrize(
    "name",
    [
        *("", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", "a/.", "a\\b", "a\0b", "a\nb", "\udce9"),
        "é" * 513,  # 1,026 bytes
        ".cifake-tune-unfinished/a",
    ],
)
def test_a_name_that_not_every_kind_of_bucket_can_hold_is_refused(bucket: Bucket, tmp_path: Path, name: str) -> None:
    for attempt in (
        lambda: bucket.read(name),
        lambda: bucket.write(name, b""),
        lambda: bucket.create(name, b""),
        lambda: bucket.exists(name),
        lambda: bucket.delete(name),
        lambda: bucket.upload(name, tmp_path / "any"),
        lambda: bucket.download(name, tmp_path / "any"),
    ):
        with pytest.raises(BucketError, match="not a valid object name"):
            attempt()


def test_the_url_is_what_the_user_wrote(url: str) -> None:
    assert open_bucket(url).url == url


def test_a_write_replaces(bucket: Bucket) -> None:
    bucket.write("a/b", b"a longer first version")
    bucket.write("a/b", b"second")
    assert bucket.read("a/b") == b"second"


def test_an_empty_object_is_an_object(bucket: Bucket, tmp_path: Path) -> None:
    bucket.write("empty", b"")
    bucket.download("empty", tmp_path / "copy")
    assert bucket.exists("empty")
    assert bucket.read("empty") == (tmp_path / "copy").read_bytes() == b""
    bucket.upload("again", tmp_path / "copy")
    assert bucket.read("again") == b""


def test_a_create_of_a_taken_name_is_refused_and_changes_nothing(bucket: Bucket) -> None:
    bucket.create("a/b", b"first")
    with pytest.raises(ObjectExistsError, match="a/b"):
        bucket.create("a/b", b"second")
    assert bucket.read("a/b") == b"first"


def test_a_missing_object_is_said_to_be_missing(bucket: Bucket, tmp_path: Path) -> None:
    bucket.write("there/x", b"")
    for name in ("missing", "there", "there/y", "there/x/y"):
        assert not bucket.exists(name)
        with pytest.raises(ObjectNotFoundError, match=name):
            bucket.read(name)
        with pytest.raises(ObjectNotFoundError, match=name):
            bucket.download(name, tmp_path / "copy")
        bucket.delete(name)
    assert not (tmp_path / "copy").exists()
    assert list(bucket.list()) == ["there/x"]


def test_a_bucket_without_objects_is_empty(bucket: Bucket) -> None:
    assert list(bucket.list()) == []
    assert not bucket.exists("a")
    bucket.delete("a")
    with pytest.raises(ObjectNotFoundError):
        bucket.read("a")


def test_names_are_listed_in_order_of_the_whole_name(bucket: Bucket) -> None:
    """`-` and `.` sort before `/`, letters after it; so a folder's turn is not that of its bare name."""
    names = ["a-b/c", "a.b", "a/b", "a/b-c/d", "a/b.c", "aa", "B", "a0", "b/a/c", "b/a-c", "é", "z"]
    names.remove("a/b")
    for name in names:
        bucket.write(name, b"")
    assert list(bucket.list()) == sorted(names)


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("", ["j/1", "j/2", "jar", "k/j/1"]),
        ("j", ["j/1", "j/2", "jar"]),
        ("j/", ["j/1", "j/2"]),
        ("j/2", ["j/2"]),
        ("ja", ["jar"]),
        ("jar/", []),
        ("k/j/", ["k/j/1"]),
        ("missing/", []),
        ("/", []),
        ("../", []),
        ("j//", []),
    ],
)
def test_a_prefix_is_a_prefix_of_the_name_not_a_folder(bucket: Bucket, prefix: str, expected: list[str]) -> None:
    for name in ("jar", "j/2", "j/1", "k/j/1"):
        bucket.write(name, b"")
    assert list(bucket.list(prefix)) == expected


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("j/", ["a-b", "a", "k"]),
        ("j/a/", ["x"]),
        ("j/k/", []),
        ("jar/", []),
        ("missing/", []),
    ],
)
def test_the_folders_of_a_folder(bucket: Bucket, prefix: str, expected: list[str]) -> None:
    for name in ("j/a/x/1", "j/a/x/2", "j/a/1", "j/a-b/1", "j/k/1", "j/z", "k/j/1"):
        bucket.write(name, b"")
    bucket.write("j/gone/1", b"")
    bucket.delete("j/gone/1")
    assert list(bucket.folders(prefix)) == expected


def test_the_size_of_a_prefix_is_that_of_its_objects(bucket: Bucket) -> None:
    for name, size in (("s/a/1", 10), ("s/a/2", 0), ("s/ab", 300), ("t", 5000)):
        bucket.write(name, b"x" * size)
    sizes = {prefix: bucket.size_bytes(prefix) for prefix in ("s/a/", "s/a", "s/", "", "missing/")}
    assert sizes == {"s/a/": 10, "s/a": 310, "s/": 310, "": 5310, "missing/": 0}


def test_an_empty_folder_that_someone_made_by_hand_is_none(
    bucket: Bucket, url: str, make_folder: Callable[[str], None]
) -> None:
    bucket.write("j/new/1", b"")
    for folder in ("j/", "j/new/", "j/old/", "j/old/er/"):
        make_folder(f"{url}/{folder}")
    assert list(bucket.folders("j/")) == ["new"]


def test_a_deleted_object_is_gone_and_deleting_it_again_is_no_error(bucket: Bucket) -> None:
    bucket.write("a/b/c", b"")
    bucket.delete("a/b/c")
    bucket.delete("a/b/c")
    assert list(bucket.list()) == []
    bucket.create("a/b", b"a name that was a folder's can be an object's")


def test_objects_deleted_while_they_are_listed_do_no_harm(bucket: Bucket) -> None:
    names = [f"{folder}/{number}" for folder in "abc" for number in range(5)]
    for name in names:
        bucket.write(name, b"")
    listing = bucket.list()
    listed = [next(listing)]
    for name in names:
        bucket.delete(name)
    listed += listing
    assert listed == sorted(set(listed))
    assert set(listed) <= set(names)


def test_the_download_of_an_upload_is_the_same_file(
    bucket: Bucket, tmp_path: Path, make_file: Callable[[str, int], Path]
) -> None:
    source = make_file("large", (20 << 20) + 12_345)
    bucket.upload("deep/in/a/folder", source)
    target = tmp_path / "cache" / "of" / "mine" / "copy"
    bucket.download("deep/in/a/folder", target)
    bucket.download("deep/in/a/folder", target)  # replaces
    assert target.read_bytes() == source.read_bytes()
    assert list(target.parent.iterdir()) == [target]
    target.unlink()


def test_an_upload_of_a_missing_file_says_so(bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(BucketError, match=r"Cannot read .*nothing-here.* to store it as a"):
        bucket.upload("a", tmp_path / "nothing-here")
    assert not bucket.exists("a")


def test_a_download_to_an_impossible_place_says_so(bucket: Bucket, tmp_path: Path) -> None:
    bucket.write("a", b"1")
    (tmp_path / "file").touch()
    with pytest.raises(BucketError, match=r"Cannot copy a from .* to .*file/copy"):
        bucket.download("a", tmp_path / "file" / "copy")


def test_of_32_racing_creators_exactly_one_wins(url: str) -> None:
    """Two processes with 16 threads each; the object is the winner's, whole."""
    code = """
        import sys, threading
        from tuner.bucket import open_bucket
        from tuner.errors import ObjectExistsError
        bucket, barrier = open_bucket(sys.argv[1]), threading.Barrier(17)
        def run(number):
            me = f"{sys.argv[2]}-{number};".encode() * 1000
            barrier.wait()
            try:
                bucket.create("study/journal/1", me)
                answer = me.decode()
            except ObjectExistsError:
                answer = "taken"
            sys.stdout.write(answer + "\\n")  # in one go: print would mix the threads' lines
        threads = [threading.Thread(target=run, args=(number,)) for number in range(16)]
        for thread in threads: thread.start()
        print("ready", flush=True)
        sys.stdin.readline()
        barrier.wait()
        for thread in threads: thread.join()
    """
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(child(code, url, str(number))) for number in range(2)]
        for process in children:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        answers: list[str] = []
        for process in children:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in children:
            out, err = process.communicate(timeout=60)
            assert (process.returncode, err) == (0, "")
            answers += out.split()
    winners = [answer for answer in answers if answer != "taken"]
    assert len(answers) == 32
    assert len(winners) == 1
    assert open_bucket(url).read("study/journal/1").decode() == winners[0]


def test_a_reader_never_sees_half_an_object(url: str, tmp_path: Path) -> None:
    """A writer replaces an object by both ways, again and again, and is killed in the middle of it."""
    code = """
        import sys
        from pathlib import Path
        from tuner.bucket import open_bucket
        bucket, path = open_bucket(sys.argv[1]), Path(sys.argv[2])
        path.write_bytes(b"f" * 3_000_000)
        bucket.write("a/object", b"w" * 3_000_000)
        print("ready", flush=True)
        while True:
            bucket.upload("a/object", path)
            bucket.write("a/object", b"w" * 3_000_000)
    """
    bucket = open_bucket(url)
    reads: list[bytes] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            if bucket.exists("a/object"):
                data = bucket.read("a/object")
                reads.append(data[:1] if data == data[:1] * 3_000_000 else data)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for kill in range(3):
            start = len(reads)
            with child(code, url, str(tmp_path / "file")) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n", process.stderr
                deadline = time.monotonic() + 30
                while not {b"f", b"w"} <= set(reads[start + kill :]):
                    assert time.monotonic() < deadline, reads[start:]
                    time.sleep(0.005)
                process.kill()
            assert list(bucket.list()) == ["a/object"]
    finally:
        stop.set()
        reader.join()
    assert set(reads) == {b"f", b"w"}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the process's peak memory from /proc")
def test_a_large_object_passes_through_little_memory(url: str, make_file: Callable[[str, int], Path]) -> None:
    code = """
        import sys
        from pathlib import Path
        from tuner.bucket import open_bucket
        def peak_kib():  # not getrusage: its peak is inherited from the parent
            return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
        bucket, path = open_bucket(sys.argv[1]), Path(sys.argv[2])
        bucket.write("small", b"1"), bucket.read("small")
        before = peak_kib()
        bucket.upload("large", path)
        bucket.download("large", path.with_suffix(".copy"))
        print((peak_kib() - before) // 1024)
    """
    grown_mib = int(output_of(code, url, str(make_file("large", 64 << 20))))
    assert grown_mib < 48


def test_writers_and_deleters_of_the_same_folder_do_not_disturb_each_other(bucket: Bucket) -> None:
    """Deleting a folder's last object must not take the folder from under a writer."""
    errors: list[Exception] = []

    def run(name: str) -> None:
        try:
            for number in range(25):
                bucket.create(f"deep/folder/{name}", str(number).encode())
                assert bucket.read(f"deep/folder/{name}") == str(number).encode()
                bucket.delete(f"deep/folder/{name}")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert list(bucket.list()) == []
