"""What a user gets wrong is answered at once, in a sentence, and leaves nothing behind."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.in_process import do_here
from tests.integration.support import Done, Place, settings
from tuner import names


def refused(done: Done, place: Place) -> None:
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert "Traceback" not in done.err + done.out
    assert not place.bucket_folder.exists() or not list(place.bucket.list("studies/"))


def test_an_unknown_setting_names_the_nearest(place: Place) -> None:
    done = do_here(place, "run", *settings(search__max_trial=3))
    assert done.code == 2
    assert "did you mean search.max_trials?" in done.err
    refused(done, place)
    assert not place.bucket_folder.exists()


def test_a_missing_study_file(place: Place) -> None:
    done = do_here(place, "run", "--study", "missing.yaml")
    assert done.code == 2
    assert "missing.yaml: no such file" in done.err
    refused(done, place)
    assert not place.bucket_folder.exists()


@pytest.mark.parametrize("source", ["missing", "missing.zip"])
def test_a_missing_data_source(place: Place, source: str) -> None:
    done = do_here(place, "run", "--data", source)
    assert done.code == 2
    assert source in done.err
    refused(done, place)
    assert not place.bucket_folder.exists() or not list(place.bucket.list("data/"))


def test_a_port_of_the_live_page_that_somebody_has(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = do_here(place, "run", **{names.ENV_HTTP: f"127.0.0.1:{port}"})
    assert done.code == 3
    assert f"cannot listen on 127.0.0.1:{port}" in done.err
    refused(done, place)
    assert not place.bucket_folder.exists() or not list(place.bucket.list("data/"))


@pytest.mark.parametrize("command", ["run", "chief"])
@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({names.ENV_LIVE_PAGE_TOKEN: "hunter2"}, "CIFAKE_TUNE_LIVE_PAGE_TOKEN must have 16 to 512 characters"),
        (
            {names.ENV_LIVE_PAGE_CERT: "missing.pem", names.ENV_LIVE_PAGE_KEY: "missing.pem"},
            "missing.pem: the TLS file cannot be read (No such file or directory)",
        ),
    ],
)
def test_a_live_page_that_cannot_be_protected_is_not_served(
    place: Place, command: str, variables: dict[str, str], sentence: str
) -> None:
    of_chief = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: "1", names.ENV_LIVE_PAGE: "127.0.0.1:0"}
    done = do_here(place, command, **(of_chief if command == "chief" else {}), **variables)
    assert done.code == 2
    assert sentence in done.err
    assert "hunter2" not in done.err
    refused(done, place)


def test_a_bucket_that_is_a_file(place: Place) -> None:
    place.bucket_folder.write_text("a file")
    done = do_here(place, "run")
    assert done.code in (2, 3)
    assert str(place.bucket_folder) in done.err
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert "Traceback" not in done.err + done.out
    assert place.bucket_folder.read_text() == "a file"


@pytest.mark.parametrize("command", ["status", "trials", "logs", "evaluate"])
def test_a_bucket_without_a_study(place: Place, command: str) -> None:
    done = do_here(place, command)
    assert done.code == 2
    assert "has no study yet" in done.err
    refused(done, place)
    assert not place.bucket_folder.exists()


def test_help_and_the_readers_do_not_import_keras(place: Place) -> None:
    code = (
        "import sys\nfrom tuner.cli.app import main\n"
        "try:\n    main()\nfinally:\n    print([m for m in sys.modules if m.split('.')[0] in "
        "('keras', 'keras_tuner', 'tensorflow', 'jax', 'matplotlib', 'sklearn')], file=sys.stderr)\n"
    )
    for arguments in (["--help"], ["run", "--help"], ["status"], ["trials"], ["logs", "0"], ["schema"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=place.environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr.endswith("[]\n"), (arguments, done.stderr)


def test_help_answers_in_less_than_a_second(place: Place) -> None:
    assert min(place.do("--help").cpu_s for _ in range(3)) < 1.0


@pytest.mark.parametrize("name", ["two\nlines", "w" * 300])
def test_a_workers_name_that_cannot_be_one(place: Place, name: str) -> None:
    address = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: "1"}
    done = do_here(place, "worker", **address, **{names.ENV_TUNER_ID: name})
    assert done.code == 2
    assert "KERASTUNER_TUNER_ID must have 1 to 200 printable characters" in done.err
    refused(done, place)
