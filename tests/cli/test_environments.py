"""Surroundings of a process that are not its fault: closed and full outputs, missing folders, limits of the system."""

import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.command_line import run_in_process
from tuner import names
from tuner.cli import environment_errors
from tuner.errors import ExitCode

ROOT = Path(__file__).parents[2]
MAIN = "from tuner.cli.app import main; main()"
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


def start(
    *arguments: str,
    code: str = MAIN,
    environment: Mapping[str, str] | None = None,
    shell: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own. `shell` are redirections, such as `>&-`."""
    ours = ("CIFAKE_TUNE_", "KERASTUNER_", "KERAS_")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    # -P: like the installed program, it looks for no modules in the working directory. In a folder that was deleted,
    # Python 3.13.0 could import nothing without it
    command = [sys.executable, "-P", "-c", code, *arguments]
    if shell:
        command = ["sh", "-c", f'exec "$@" {shell}', "sh", *command]
    return subprocess.run(
        command,
        env={**inherited, "PYTHONPATH": str(ROOT), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def sentence(done: subprocess.CompletedProcess[str], code: ExitCode) -> str:
    """Return the one line with which the command failed."""
    assert done.returncode == code, done.stderr
    assert "internal error" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


# ---- outputs ------------------------------------------------------------------------------------
@pytest.mark.parametrize("command", ["--version", "--help", "schema"])
def test_a_closed_output_is_named(command: str) -> None:
    assert "standard output cannot be written" in sentence(start(command, shell=">&-"), ExitCode.ENVIRONMENT)


@needs_full
@pytest.mark.parametrize("command", ["--version", "schema"])
def test_a_full_disk_behind_the_output_is_named(command: str) -> None:
    done = start(command, shell=">/dev/full")
    assert "standard output cannot be written (No space left on device)" in sentence(done, ExitCode.ENVIRONMENT)


@needs_full
@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", ">&- 2>&-", "<&-"])
def test_the_exit_code_remains_if_an_error_cannot_be_written(redirection: str, tmp_path: Path) -> None:
    done = start("status", "--bucket", str(tmp_path), shell=redirection)
    assert done.returncode == ExitCode.USAGE  # the bucket has no study
    assert "Traceback" not in done.stderr


def test_a_reader_that_ends_early_is_no_error() -> None:
    done = start("schema", shell="| head -n 1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")


def test_an_ascii_output_gets_every_text_with_the_other_characters_escaped() -> None:
    done = start("predict", "--help", environment=ASCII)
    assert (done.returncode, done.stderr) == (0, "")
    assert "IMAGE\\u2026" in done.stdout
    assert done.stdout.isascii()


# ---- folders ------------------------------------------------------------------------------------
@pytest.mark.parametrize("command", ["status", "run"])
def test_a_working_directory_that_was_deleted_is_named(command: str, tmp_path: Path) -> None:
    folder = tmp_path / "deleted"
    folder.mkdir()
    # the interpreter starts elsewhere, because it cannot start there on every system
    done = start(command, code=f"import os; os.chdir({str(folder)!r}); os.rmdir({str(folder)!r}); {MAIN}")
    assert "the working directory no longer exists" in sentence(done, ExitCode.USAGE)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_user_without_home_and_entry_is_told_to_name_a_cache(tmp_path: Path) -> None:
    # imports come first, because the other user may not be able to read this folder
    imports = "import os, pwd, tuner.cli.app, tuner.local.run, tuner.rpc.tls"
    code = f"{imports}; os.environ.pop('HOME', None); os.setuid(54321); {MAIN}"
    done = start("run", "--bucket", str(tmp_path / "bucket"), code=code)
    text = sentence(done, ExitCode.USAGE)
    assert "HOME is not set and user 54321 is not in /etc/passwd" in text
    assert f"Set {names.ENV_CACHE}" in text


def test_a_home_that_cannot_be_written_is_named_before_any_work(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("a file in its place, because root may write to a folder without permissions")
    bucket = tmp_path / "bucket"
    done = start("run", "--bucket", str(bucket), environment={"HOME": str(home), "XDG_CACHE_HOME": ""})
    text = sentence(done, ExitCode.USAGE)
    assert f"the cache folder {home}/.cache/cifake-tune cannot be created" in text
    assert f"Set {names.ENV_CACHE}" in text
    assert not bucket.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a file system")
def test_a_home_on_a_read_only_file_system_is_named(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    mount = f"mount -t tmpfs -o ro none {home}"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("this system does not let root mount a file system")
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": "", "PYTHONPATH": str(ROOT)}
    environment = {key: value for key, value in environment.items() if not key.startswith("CIFAKE_TUNE_")}
    command = [sys.executable, "-c", MAIN, "run", "--bucket", str(tmp_path / "bucket")]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh", *command],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "cannot be created (Read-only file system)" in sentence(done, ExitCode.USAGE)


# ---- limits -------------------------------------------------------------------------------------
def test_a_thread_that_cannot_be_started_is_named() -> None:
    fail = 'def fail(): raise RuntimeError("can\'t start new thread")'
    done = start("schema", code=f"{fail}\nimport tuner.cli.app as app; app.json_schema = fail; app.main()")
    assert "the system refused to start a thread" in sentence(done, ExitCode.ENVIRONMENT)


def test_a_process_without_memory_says_so() -> None:
    """The limit is lowered once the program is imported, as a machine runs short of memory while it works."""
    lower = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))"
    allocate = "import tuner.cli.app as app; app.json_schema = lambda: bytes(1 << 32)"
    text = sentence(start("schema", code=f"{allocate}; {lower}; app.main()"), ExitCode.ENVIRONMENT)
    assert "ran out of memory" in text
    assert "ulimit -v" in text


@pytest.mark.parametrize("command", ["run", "chief"])
@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ("RLIMIT_NOFILE, (16, 16)", "the limit on open files is 16, and at least 20 are needed. Raise it"),
        ("RLIMIT_AS, (10**9, 10**9)", "the limit on address space is 954 MiB, and Keras needs at least 1,536 MiB"),
    ],
)
def test_a_limit_that_is_too_low_for_keras_is_named_before_any_work(
    limit: str, says: str, command: str, tmp_path: Path
) -> None:
    bucket = tmp_path / "bucket"
    code = f"import resource, tuner.cli.app as app; resource.setrlimit(resource.{limit}); app.main()"
    done = start(command, "--bucket", str(bucket), code=code, environment={names.ENV_CACHE: str(tmp_path)})
    assert says in sentence(done, ExitCode.ENVIRONMENT)
    assert not bucket.exists()


@pytest.mark.parametrize("command", ["run", "chief", "worker", "evaluate", "predict x.png"])
def test_every_command_that_needs_keras_checks_limits(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (16, 16))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    done = run_in_process(*command.split())
    assert done.code == ExitCode.ENVIRONMENT
    assert "the limit on open files is 16" in done.err


def test_a_low_soft_limit_on_open_files_is_raised(tmp_path: Path) -> None:
    lower = "import resource; hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]"
    code = f"{lower}; resource.setrlimit(resource.RLIMIT_NOFILE, (32, hard)); {MAIN}"
    done = start("chief", "--check", "--bucket", str(tmp_path), code=code)
    assert (done.returncode, done.stderr) == (0, "")


def test_too_few_open_files_are_named(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("seed: 3")
    code = "import resource, tuner.cli.app as app; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)); app.main()"
    done = start("status", "--bucket", str(tmp_path), code=code)
    assert done.returncode in (ExitCode.USAGE, ExitCode.ENVIRONMENT)
    assert "Too many open files" in done.stderr
    assert "internal error" not in done.stderr


@pytest.mark.parametrize(
    ("error", "code", "remedy"),
    [
        (MemoryError(), 3, "ulimit -v"),
        (ImportError("libx.so: failed to map segment from shared object"), 3, "ulimit -v"),
        (OSError(12, "Cannot allocate memory"), 3, "ulimit -v"),
        (RuntimeError("can't start new thread"), 3, "ulimit -u"),
        (OSError(24, "Too many open files", "a.npy"), 3, "ulimit -n"),
        (OSError(28, "No space left on device", "a.npy"), 3, "Free some disk space"),
        (OSError(30, "Read-only file system", "a.npy"), 3, "not read-only"),
        (PermissionError(13, "Permission denied", "a.npy"), 3, "a.npy: Permission denied. Check the permissions"),
    ],
)
def test_an_error_of_the_system_is_explained(error: Exception, code: int, remedy: str) -> None:
    explained = environment_errors.explain(error)
    assert explained is not None
    assert explained.exit_code == code
    assert remedy in str(explained)


@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError("x"), FileNotFoundError(2, "No such file", "x")])
def test_other_errors_remain_internal(error: Exception) -> None:
    assert environment_errors.explain(error) is None
