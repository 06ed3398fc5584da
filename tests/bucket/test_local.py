"""What is special about a folder as a bucket: crashes, full disks, missing rights, files in the way."""

import contextlib
import errno
import os
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.children import child, output_of
from tuner.bucket import open_bucket
from tuner.bucket.files import STALE_AFTER_S
from tuner.bucket.protocol import RESERVED
from tuner.errors import BucketError, ObjectExistsError

FILL_THE_DISK = """
    import os, sys
    from pathlib import Path
    from tuner.bucket import open_bucket
    from tuner.errors import BucketError
    bucket, kind = open_bucket(sys.argv[1]), sys.argv[2]
    if kind == "limit":
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    bucket.write("a", b"old")
    for attempt in (lambda: bucket.write("a", b"x" * 500_000), lambda: bucket.create("b", b"x" * 500_000),
                    lambda: bucket.upload("a", Path(sys.argv[3]))):
        try:
            attempt()
        except BucketError as error:
            print(error)
    print(bucket.read("a"), list(bucket.list()), os.listdir(f"{sys.argv[1]}/" + sys.argv[4]))
"""


@contextlib.contextmanager
def as_a_user_with_rights_to_nothing() -> Iterator[None]:
    """Root may write anywhere, so become nobody for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach: pytest's own are closed to them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def test_opening_a_bucket_makes_no_folder_and_the_first_write_does(tmp_path: Path) -> None:
    bucket = open_bucket(str(tmp_path / "a" / "bucket"))
    assert list(bucket.list()) == []
    assert list(tmp_path.iterdir()) == []
    bucket.write("b/c", b"1")
    assert (tmp_path / "a" / "bucket" / "b" / "c").read_bytes() == b"1"


def test_a_relative_folder_stays_where_it_was_when_the_process_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bucket = open_bucket("bucket")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    bucket.write("a", b"1")
    assert (tmp_path / "bucket" / "a").exists()


def test_a_process_killed_in_the_middle_of_a_write_leaves_the_old_object_and_its_rest_is_cleared(
    tmp_path: Path,
) -> None:
    """The source is a pipe that gives half of the object and then nothing, so the kill cannot come too late."""
    root, pipe = tmp_path / "bucket", tmp_path / "pipe"
    bucket = open_bucket(str(root))
    bucket.write("a", b"old")
    os.mkfifo(pipe)
    code = """
        import sys
        from pathlib import Path
        from tuner.bucket import open_bucket
        open_bucket(sys.argv[1]).upload("a", Path(sys.argv[2]))
    """
    unfinished = root / RESERVED
    with child(code, str(root), str(pipe)) as process, pipe.open("wb") as half:
        half.write(b"h" * (3 << 20))
        half.flush()
        _await(lambda: [file for file in unfinished.iterdir() if file.stat().st_size >= 2 << 20])
        (rest,) = unfinished.iterdir()
        long_ago = time.time() - STALE_AFTER_S - 10
        os.utime(rest, (long_ago, long_ago))
        open_bucket(str(root)).write("b", b"a slow writer is not robbed of its file, however old that is")
        assert list(unfinished.iterdir()) == [rest]
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert bucket.read("a") == b"old"
    assert list(bucket.list()) == ["a", "b"]
    os.utime(rest, (long_ago, long_ago))
    open_bucket(str(root)).write("c", b"")
    assert list(unfinished.iterdir()) == []


@pytest.mark.parametrize("kind", ["limit", "disk"])
def test_a_full_disk_keeps_the_old_object_and_leaves_nothing_half_written(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 500_000)
    root = tmp_path / "bucket"
    root.mkdir()
    prefix: tuple[str, ...] = ()
    if kind == "disk":
        prefix = ("unshare", "-m", "sh", "-c", f'mount -t tmpfs -o size=200k tmpfs "{root}" && exec "$@"', "sh")
        if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode:
            pytest.skip("needs the right to mount a small file system")
    lines = output_of(FILL_THE_DISK, str(root), kind, str(source), RESERVED, prefix=prefix).splitlines()
    assert len(lines) == 4
    for line, name in zip(lines[:3], "aba", strict=True):
        assert f"Cannot write {name} in the folder {root}: no space is left there" in line
    assert lines[3] == "b'old' ['a'] []"


def test_missing_rights_are_a_sentence_and_nothing_is_half_written(open_folder: Path) -> None:
    bucket = open_bucket(str(open_folder))
    bucket.write("a", b"old")
    (open_folder / "a").chmod(0o600)
    (open_folder / "closed").mkdir(mode=0o700)
    if os.geteuid() != 0:
        (open_folder / "a").chmod(0)
        for folder in (open_folder / RESERVED, open_folder / "closed", open_folder):
            folder.chmod(0o555 if folder != open_folder / "closed" else 0)
    with as_a_user_with_rights_to_nothing():
        for attempt in (
            lambda: bucket.write("a", b"new"),
            lambda: bucket.create("b", b"new"),
            lambda: bucket.delete("a"),
            lambda: bucket.read("a"),
            lambda: bucket.read("closed/x"),
            lambda: bucket.exists("closed/x"),
            lambda: list(bucket.list()),
        ):
            with pytest.raises(
                BucketError, match=rf"in the folder {open_folder}: user \d+ has no permission at .* Change"
            ):
                attempt()
    for folder in (open_folder, open_folder / RESERVED, open_folder / "closed"):
        folder.chmod(0o755)
    (open_folder / "a").chmod(0o644)
    assert bucket.read("a") == b"old"
    assert list(bucket.list()) == ["a"]
    assert list((open_folder / RESERVED).iterdir()) == []


def test_the_lost_and_found_of_a_fresh_volume_does_not_stop_a_listing(open_folder: Path) -> None:
    bucket = open_bucket(str(open_folder))
    bucket.write("z", b"")
    (open_folder / "lost+found").mkdir(mode=0o700 if os.geteuid() == 0 else 0)
    with as_a_user_with_rights_to_nothing():
        assert list(bucket.list()) == ["z"]


def test_a_read_only_file_system_is_a_sentence(tmp_path: Path) -> None:
    prefix = ("unshare", "-m", "sh", "-c", f'mount -t tmpfs -o ro tmpfs "{tmp_path}" && exec "$@"', "sh")
    if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a read-only file system")
    code = """
        import sys
        from tuner.bucket import open_bucket
        from tuner.errors import BucketError
        bucket = open_bucket(sys.argv[1])
        assert list(bucket.list()) == []
        try:
            bucket.create("a", b"1")
        except BucketError as error:
            print(error)
    """
    output = output_of(code, str(tmp_path), prefix=prefix)
    assert f"Cannot write a in the folder {tmp_path}: its file system is read-only." in output


def test_a_folder_that_others_make_and_prune_meanwhile_is_not_taken_for_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, folder = open_bucket(str(tmp_path)), str(tmp_path / "folder")
    make, stat = os.mkdir, os.stat

    def pruned(path: Any, *more: Any) -> None:
        try:
            make(path, *more)
        except FileExistsError:
            if str(path) == folder:
                os.rmdir(folder)
            raise

    def stat_after_pruning(path: Any, **how: Any) -> os.stat_result:
        try:
            return stat(path, **how)
        except FileNotFoundError:
            if str(path) == folder:
                make(folder)
            raise

    monkeypatch.setattr(os, "mkdir", pruned)
    monkeypatch.setattr(os, "stat", stat_after_pruning)
    bucket.write("folder/a", b"1")
    assert bucket.read("folder/a") == b"1"


def test_a_file_where_a_folder_is_needed_is_a_sentence(tmp_path: Path) -> None:
    bucket = open_bucket(str(tmp_path / "bucket"))
    bucket.write("a", b"1")
    for attempt in (lambda: bucket.write("a/b", b""), lambda: bucket.create("a/b/c", b"")):
        with pytest.raises(BucketError, match="a file is in the place of a folder"):
            attempt()
    bucket.write("folder/b", b"1")
    for attempt in (lambda: bucket.write("folder", b""), lambda: bucket.create("folder", b"")):
        with pytest.raises(BucketError, match="a folder has that name"):
            attempt()
    assert list(bucket.list()) == ["a", "folder/b"]


def test_a_bucket_that_is_a_file_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    bucket = open_bucket(str(tmp_path / "file"))
    for attempt in (lambda: bucket.read("a"), lambda: bucket.write("a", b""), lambda: list(bucket.list())):
        with pytest.raises(BucketError, match=r"a file is in the place of a folder \(.*file\)"):
            attempt()


def test_objects_get_the_mode_that_the_umask_says_so_that_pods_of_other_users_can_read_them(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        open_bucket(str(tmp_path)).write("a", b"1")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_opening_a_folder_does_not_pay_for_googles_library() -> None:
    loaded = output_of("""
        import sys
        from tuner.bucket import open_bucket
        open_bucket("any/folder")
        print([name for name in sys.modules if name.startswith("google")])
    """)
    assert loaded == "[]\n"


def _await(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(FileNotFoundError):
            if condition():
                return
        assert time.monotonic() < deadline
        time.sleep(0.005)


# ---- a folder that several machines mount by NFS; test_nfs.py has real clients and a real server --------------------
def test_a_create_whose_answer_was_lost_has_succeeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket, link = open_bucket(str(tmp_path)), os.link

    def answer_lost(*paths: Any) -> None:
        link(*paths)
        link(*paths)  # the client repeats the call, which now finds its own name

    monkeypatch.setattr(os, "link", answer_lost)
    bucket.create("a", b"ours")
    assert bucket.read("a") == b"ours"
    with pytest.raises(ObjectExistsError):
        bucket.create("a", b"theirs")
    assert bucket.read("a") == b"ours"


def test_a_write_whose_answer_was_lost_has_succeeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket, replace = open_bucket(str(tmp_path)), os.replace

    def answer_lost(*paths: Any) -> None:
        replace(*paths)
        replace(*paths)

    monkeypatch.setattr(os, "replace", answer_lost)
    bucket.write("a", b"new")
    assert bucket.read("a") == b"new"


def test_an_object_that_is_replaced_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = open_bucket(str(tmp_path / "bucket"))
    bucket.write("a", b"new")
    opened: list[Path] = []
    unpatched = Path.open

    def stale_at_first(path: Path, *how: Any) -> Any:
        if how == ("rb",):
            opened.append(path)
        file = unpatched(path, *how)
        if len(opened) % 3 == 1:
            file.close()
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
        return file

    monkeypatch.setattr(Path, "open", stale_at_first)
    assert bucket.read("a") == b"new"
    bucket.download("a", tmp_path / "copy")
    assert bucket.exists("a")
    monkeypatch.undo()
    assert (tmp_path / "copy").read_bytes() == b"new"
    assert len(opened) > 5


def test_a_folder_that_stays_stale_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = open_bucket(str(tmp_path))
    bucket.write("a", b"")

    def stale(path: Any) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))

    monkeypatch.setattr(os, "scandir", stale)
    with pytest.raises(BucketError, match=f"Cannot list / in the folder {tmp_path}: Stale file handle"):
        list(bucket.list())


def test_files_that_a_client_has_renamed_because_they_are_open_are_no_objects(tmp_path: Path) -> None:
    bucket = open_bucket(str(tmp_path))
    for name in ("runs/a", "runs/.nfs000000000001001100000001", "runs/.nfs"):
        bucket.write(name, b"1")
    assert list(bucket.list()) == ["runs/.nfs", "runs/a"]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_file_system_that_cannot_flush_a_folder_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fsync = os.fsync

    def files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    bucket = open_bucket(str(tmp_path))
    bucket.create("runs/a", b"1")
    assert bucket.read("runs/a") == b"1"


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_hard_links_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(*paths: Any) -> None:
        raise OSError(number, os.strerror(number), str(paths[0]), None, str(paths[1]))

    monkeypatch.setattr(os, "link", refused)
    bucket = open_bucket(str(tmp_path))
    with pytest.raises(BucketError, match="has no hard links, with which objects are created atomically"):
        bucket.create("a", b"1")
    assert list(bucket.list()) == []
