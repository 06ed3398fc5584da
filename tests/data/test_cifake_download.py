"""Downloads from a real HTTP server that cuts connections, and verification by content."""

import hashlib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.data.images import Files, data_set, write_zip
from tests.support import http_server
from tuner.data.cifake import CIFAKE, ClassFolder, fetch, verify
from tuner.errors import DataError, EnvironmentFailure, ExitCode


@dataclass
class Server:
    """Serves one file. Each answer is cut off after `cut_after` bytes, as long as `cuts` are left."""

    content: bytes
    cut_after: int = 0
    cuts: int = 0
    resumes: bool = True
    chunked: bool = False
    statuses: list[int] = field(default_factory=list)
    """Answers with these first."""
    ranges: list[str | None] = field(default_factory=list)
    """What was asked for."""
    url: str = ""


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    class Handler(http_server.QuietHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # noqa: N802
            range_header = self.headers.get("Range")
            server.ranges.append(range_header)
            self.close_connection = True
            if server.statuses:
                self.send_error(server.statuses.pop(0))
                return
            start = int(range_header.removeprefix("bytes=").removesuffix("-")) if range_header and server.resumes else 0
            if start and start >= len(server.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(server.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = server.content[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
            if server.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            cut = server.cuts > 0
            if cut:
                server.cuts -= 1
                body = body[: server.cut_after]
            if server.chunked:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body) + (b"" if cut else b"0\r\n\r\n"))
            else:
                self.wfile.write(body)

    with http_server.serving(http_server.server_of(Handler)) as url:
        server.url = f"{url}/archive.zip"
        yield server


@pytest.fixture
def archive(tmp_path: Path, files: Files) -> bytes:
    """As GitHub makes it: everything in a folder named after the commit."""
    inner = {f"repository-e112a94/DATASET/{name}": data for name, data in files.items()}
    return write_zip(tmp_path / "served.zip", inner | {"repository-e112a94/LICENSE": b"MIT"}).read_bytes()


@pytest.fixture
def expected(files: Files) -> dict[str, ClassFolder]:
    """Digests as the published ones are made, the order written out."""
    order = {"train": ["0", "0 (2)", "1", "1 (2)", "2", "2 (2)"], "test": ["0", "0 (2)", "1"]}
    folders = {}
    for split, names in order.items():
        for name in ("FAKE", "REAL"):
            blob = b"".join(files[f"{split}/{name}/{stem}.png"] for stem in names)
            folders[f"{split}/{name}"] = ClassFolder(len(names), hashlib.sha256(blob).hexdigest())
    return folders


def test_the_archive_is_downloaded_into_a_folder_or_to_a_file(
    tmp_path: Path, archive: bytes, expected: dict[str, ClassFolder]
) -> None:
    with serving(Server(archive)) as server:
        in_folder = fetch(tmp_path, url=server.url, expected=expected)
        as_file = fetch(tmp_path / "new" / "mine.zip", url=server.url, expected=expected)
    assert in_folder == tmp_path / "cifake.zip"
    assert in_folder.read_bytes() == as_file.read_bytes() == archive
    assert list(tmp_path.rglob("*.part")) == []


@pytest.mark.parametrize("chunked", [False, True])
def test_a_connection_cut_three_times_is_resumed(
    tmp_path: Path, archive: bytes, expected: dict[str, ClassFolder], chunked: bool
) -> None:
    third = len(archive) // 4
    with serving(Server(archive, cut_after=third, cuts=3, chunked=chunked)) as server:
        path = fetch(tmp_path / "a.zip", url=server.url, expected=expected, longest_wait_s=0.01)
    assert path.read_bytes() == archive
    assert server.ranges == [None, f"bytes={third}-", f"bytes={2 * third}-", f"bytes={3 * third}-"]


def test_a_server_that_cannot_resume_is_asked_for_all_again(
    tmp_path: Path, archive: bytes, expected: dict[str, ClassFolder]
) -> None:
    with serving(Server(archive, cut_after=1000, cuts=2, resumes=False)) as server:
        path = fetch(tmp_path / "a.zip", url=server.url, expected=expected, longest_wait_s=0.01)
    assert path.read_bytes() == archive
    assert len(server.ranges) == 3


def test_a_server_that_fails_for_a_while_is_asked_again(
    tmp_path: Path, archive: bytes, expected: dict[str, ClassFolder]
) -> None:
    with serving(Server(archive, statuses=[503, 500, 429])) as server:
        fetch(tmp_path / "a.zip", url=server.url, expected=expected, longest_wait_s=0.01)
    assert len(server.ranges) == 4


def test_a_server_that_goes_on_failing_is_worth_a_retry_and_the_next_call_goes_on(
    tmp_path: Path, archive: bytes, expected: dict[str, ClassFolder]
) -> None:
    target = tmp_path / "a.zip"
    with serving(Server(archive, cut_after=100, cuts=1000)) as server:
        with pytest.raises(EnvironmentFailure, match="failed 3 times") as caught:
            fetch(target, url=server.url, expected=expected, tries=3, longest_wait_s=0.01)
        assert caught.value.exit_code is ExitCode.ENVIRONMENT
        assert not target.exists()
        server.cuts = 0
        fetch(target, url=server.url, expected=expected, longest_wait_s=0.01)
    assert server.ranges[-1] == "bytes=300-"
    assert target.read_bytes() == archive


def test_an_address_without_an_archive_is_not_tried_again(tmp_path: Path, expected: dict[str, ClassFolder]) -> None:
    with serving(Server(b"", statuses=[404])) as server, pytest.raises(DataError, match="404"):
        fetch(tmp_path / "a.zip", url=server.url, expected=expected)
    assert len(server.ranges) == 1


def test_nobody_listening_is_a_failure_of_the_surroundings(tmp_path: Path, expected: dict[str, ClassFolder]) -> None:
    with serving(Server(b"")) as server:
        pass
    with pytest.raises(EnvironmentFailure, match="refused"):
        fetch(tmp_path / "a.zip", url=server.url, expected=expected, tries=2, longest_wait_s=0.01)


def test_an_archive_of_other_images_is_refused_and_not_kept(
    tmp_path: Path, archive: bytes, expected: dict[str, ClassFolder]
) -> None:
    other = {**expected, "test/REAL": ClassFolder(3, "0" * 64)}
    with (
        serving(Server(archive)) as server,
        pytest.raises(DataError, match="test/REAL differ from the published ones") as caught,
    ):
        fetch(tmp_path / "a.zip", url=server.url, expected=other)
    assert caught.value.exit_code is ExitCode.USAGE
    assert {path.name for path in tmp_path.iterdir()} == {"served.zip"}


def test_a_sign_in_page_instead_of_an_archive_is_refused(tmp_path: Path, expected: dict[str, ClassFolder]) -> None:
    with serving(Server(b"<html>please sign in</html>")) as server, pytest.raises(DataError, match="not a zip"):
        fetch(tmp_path / "a.zip", url=server.url, expected=expected)
    assert list(tmp_path.iterdir()) == []


def test_a_file_put_together_from_two_archives_is_downloaded_afresh(
    tmp_path: Path, archive: bytes, expected: dict[str, ClassFolder], files: Files
) -> None:
    other = write_zip(tmp_path / "other.zip", files, zipfile.ZIP_DEFLATED).read_bytes()
    (tmp_path / "a.zip.part").write_bytes(other[:500])
    with serving(Server(archive)) as server:
        path = fetch(tmp_path / "a.zip", url=server.url, expected=expected)
    assert path.read_bytes() == archive
    assert server.ranges == ["bytes=500-", None]


def test_what_is_there_already_is_verified_and_kept(
    tmp_path: Path, archive: bytes, expected: dict[str, ClassFolder]
) -> None:
    target = tmp_path / "a.zip"
    with serving(Server(archive)) as server:
        (tmp_path / "a.zip.part").write_bytes(archive)  # all of it, but the process died before it was renamed
        fetch(target, url=server.url, expected=expected)
        fetch(target, url=server.url, expected=expected)
        assert server.ranges == [f"bytes={len(archive)}-"]
        target.write_bytes(archive[:-10])
        with pytest.raises(DataError, match="cut short"):
            fetch(target, url=server.url, expected=expected)
        assert len(server.ranges) == 1
        assert target.exists()  # the user's file is not ours to remove


def test_another_number_of_images_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", data_set())
    with pytest.raises(DataError, match=r"train/REAL has 6 images instead of 50,000"):
        verify(path, CIFAKE)
