"""A chief and workers with certificates: who is let in, and what the others and the operator read."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras_tuner
import pytest

from tests.integration.in_process import do_here
from tests.integration.support import Command, Done, Place, place, settings, space
from tests.support.certificates import Authority, environment
from tests.support.chief import running_chief
from tests.support.gcs_emulator import free_port
from tests.support.tree import digests
from tuner import names
from tuner.config.loading import load
from tuner.data.pack import pack
from tuner.study.journal import decode
from tuner.study.records import Served, TrialState
from tuner.worker import chief_client, join_problem

STUDY = (*space("Tiny"), *settings(search__max_trials=2, training__epochs=1))
GIVES_UP_S = 300
"""A worker that cannot reach its chief at all."""
REFUSED: dict[str, tuple[int, str]] = {
    "plain": (2, "requires TLS. Set CIFAKE_TUNE_TLS_CERT"),
    "foreign": (3, "refuses the certificate"),
    "expired": (3, "refuses the certificate"),
    "distrusting": (3, "is not signed by the authority in"),
    "misnamed": (2, "Set CIFAKE_TUNE_TLS_NAME"),
}


@pytest.fixture(scope="module", autouse=True)
def _impatient() -> Iterator[None]:
    """Let a worker that is not let in try for seconds instead of minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chief_client, "TIMEOUT_S", 3.0)
        patch.setattr(join_problem, "MISCONFIGURED_S", 1.0)
        yield


@dataclass(frozen=True)
class Encrypted:
    """A study whose chief asks for certificates: first workers with wrong ones came, then one with the right one."""

    original_contents: dict[str, str]
    contents: dict[str, str]
    """The bucket before and after the wrong workers."""
    wrong: dict[str, Done]
    right: Done
    chief: Done
    place: Place


def address() -> dict[str, str]:
    return {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: str(free_port())}


def contents_of(folder: Path) -> dict[str, str]:
    """Return the digests of the bucket's files, without segments that only record that the chief serves."""
    contents = digests(folder)
    for name in [name for name in contents if names.parse_journal_segment(name)]:
        records = decode(name, (folder / name).read_bytes())
        if all(isinstance(record, Served) for record in records):
            del contents[name]
    return contents


def start_chief(place: Place, more: dict[str, str]) -> Command:
    chief = place.start("chief", *STUDY, **more)
    place.wait_for(lambda _: "listens on port" in place.logs(), "a chief that listens", chief)
    return chief


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory, two_colours: str) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("tls")) as new_place:
        pack(two_colours, new_place.bucket)
        yield new_place


@pytest.fixture(scope="module")
def encrypted(packed: Place, tmp_path_factory: pytest.TempPathFactory) -> Encrypted:
    folder = tmp_path_factory.mktemp("certificates")
    ours, other = Authority(folder / "ours"), Authority(folder / "other")
    worker = environment(ours.issue("worker", "worker")) | {names.ENV_TUNER_ID: "worker"}
    identities = {
        "plain": {},
        "foreign": environment(other.issue("foreign", "worker", trusting=ours)),
        "expired": environment(ours.issue("expired", "worker", expired=True)),
        "distrusting": environment(ours.issue("distrusting", "worker", trusting=other)),
        "misnamed": worker | {names.ENV_TLS_NAME: "chief.elsewhere"},
    }
    where = address()
    chief = start_chief(packed, environment(ours.issue("chief", "127.0.0.1")) | where)
    original_contents = contents_of(packed.bucket_folder)
    wrong = {
        name: do_here(packed, "worker", **(identity | where | {names.ENV_TUNER_ID: name}))
        for name, identity in identities.items()
    }
    contents = contents_of(packed.bucket_folder)
    right = do_here(packed, "worker", **worker, **where)
    return Encrypted(original_contents, contents, wrong, right, chief.wait(), packed)


@pytest.mark.parametrize("who", REFUSED)
def test_a_worker_that_is_not_let_in_ends_with_a_sentence(encrypted: Encrypted, who: str) -> None:
    code, text = REFUSED[who]
    done = encrypted.wrong[who]
    assert done.code == code
    error = done.err.splitlines()[-1]
    assert error.startswith("error: ")
    assert text in error
    assert "Traceback" not in done.out + done.err
    assert done.seconds < GIVES_UP_S / 2


def test_those_who_are_not_let_in_change_nothing(encrypted: Encrypted) -> None:
    assert encrypted.contents == encrypted.original_contents


def test_the_chief_says_whom_it_refused(encrypted: Encrypted) -> None:
    assert "a client that does not speak TLS was refused. Set CIFAKE_TUNE_TLS_CERT" in encrypted.chief.out
    assert "a client's certificate was refused (unable to get local issuer certificate)" in encrypted.chief.out
    assert "a client's certificate was refused (certificate has expired)" in encrypted.chief.out
    assert "Handshake failed" not in encrypted.chief.err


def test_a_worker_with_the_right_certificate_finishes_the_study(encrypted: Encrypted) -> None:
    assert (encrypted.right.code, encrypted.chief.code) == (0, 0)
    trials = encrypted.place.state().trials.values()
    assert [(trial.state, trial.worker) for trial in trials] == [(TrialState.COMPLETED, "worker")] * 2


def test_a_chief_without_certificates_is_told_to_a_worker_that_has_one(
    place: Place, tmp_path: Path, two_colours: str
) -> None:
    digest = pack(two_colours, place.bucket).digest
    with running_chief(place.bucket, load(), keras_tuner.HyperParameters(), digest) as chief:
        contents = digests(place.bucket_folder)
        where = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: str(chief.port), names.ENV_TUNER_ID: "w"}
        done = do_here(place, "worker", **where, **environment(Authority(tmp_path).issue("w", "w")))
        assert done.code == 2
        assert "does not speak TLS. Set CIFAKE_TUNE_TLS_CERT" in done.err.splitlines()[-1]
        assert not chief.ask(lambda state: state.trials)
    assert digests(place.bucket_folder) == contents


@pytest.mark.parametrize("command", ["chief", "worker", "run"])
def test_certificates_that_cannot_be_used_are_a_wrong_configuration(
    packed: Place, tmp_path: Path, command: str
) -> None:
    contents = digests(packed.bucket_folder)
    valid_environment = environment(Authority(tmp_path).issue("w", "w")) | address() | {names.ENV_TUNER_ID: "w"}
    for change, text in (
        ({names.ENV_TLS_KEY: ""}, "without CIFAKE_TUNE_TLS_KEY. Set all three"),
        ({names.ENV_TLS_CA: str(tmp_path / "gone.pem")}, "gone.pem: the TLS file cannot be read"),
    ):
        done = do_here(packed, command, **(valid_environment | change))
        assert done.code == 2
        assert done.err.startswith("error: ")
        assert text in done.err
        assert done.err.count("\n") == 1
    assert digests(packed.bucket_folder) == contents
