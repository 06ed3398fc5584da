"""`run` with a live page that asks for a token and speaks https: who gets the token, and where the page is."""

import os
import re
import socket
import ssl
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.integration.support import Place, settings, space
from tests.support.certificates import Authority
from tests.support.scrape import get
from tuner import names

pytestmark = pytest.mark.slow

TOKEN = "correct-horse-battery-staple"
PRINTED = re.compile(r"Live page: (https://127\.0\.0\.1:\d+/) \(metrics: http://(\S+)/metrics; it asks for (\w+)\)")


def environment(process: int) -> str:
    """Return the environment of a process."""
    return Path(f"/proc/{process}/environ").read_text()


def listening(process: int) -> set[tuple[str, int]]:
    """Return the addresses and ports at which a process listens."""
    sockets = {os.readlink(entry) for entry in Path(f"/proc/{process}/fd").iterdir() if entry.is_symlink()}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == "0A" and f"socket:[{columns[9]}]" in sockets:  # LISTEN
                address, _, port = columns[1].partition(":")
                family = socket.AF_INET if table == "tcp" else socket.AF_INET6
                packed = b"".join(bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8))
                found.add((socket.inet_ntop(family, packed), int(port, 16)))
    return found


def test_run_serves_its_page_with_token_and_tls_and_only_the_chief_knows_them(
    place: Place, two_colours: str, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    files = authority.issue("page", "127.0.0.1")
    (place.gate / "hold-0").touch()
    of_page = {
        names.ENV_LIVE_PAGE_TOKEN: TOKEN,
        names.ENV_LIVE_PAGE_CERT: str(files.certificate),
        names.ENV_LIVE_PAGE_KEY: str(files.key),
    }
    study = settings(search__max_trials=1, training__epochs=1, evaluation__robustness_images=0)
    command = place.start("run", "--data", two_colours, "--workers", "1", *study, *space("GatedGrid"), **of_page)
    place.wait_for(lambda state: bool(state.trials), "a trial", command)
    printed = PRINTED.search(" ".join(command.printed().split()))
    assert printed is not None, command.printed()
    page, metrics, variable = printed.groups()
    trusting = ssl.create_default_context(cafile=str(authority.certificate))
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(f"{page}overview.json", context=trusting, timeout=30)
    assert (error.value.code, variable) == (HTTPStatus.UNAUTHORIZED, names.ENV_LIVE_PAGE_TOKEN)
    request = urllib.request.Request(f"{page}overview.json", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, context=trusting, timeout=30) as answer:
        assert answer.status == HTTPStatus.OK
    assert get(metrics, names.HTTP_HEALTHY).status == HTTPStatus.OK
    (chief,), (worker,) = place.processes("chief"), place.processes("worker")
    assert (TOKEN in environment(chief), TOKEN in environment(worker)) == (True, False)
    ports = listening(chief) | listening(worker)
    assert len(ports) >= 3, "gRPC, metrics and page"
    assert {address.removeprefix("::ffff:") for address, _ in ports} == {"127.0.0.1"}
    (place.gate / "hold-0").unlink()
    done = command.wait()
    assert done.code == 0, done.err
    everything = done.out + done.err + place.logs()
    assert TOKEN not in everything
    assert not [
        path for path in place.bucket_folder.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()
    ]
