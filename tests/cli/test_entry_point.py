"""The program starts where a user's own modules have the names of its packages, and hides none of theirs."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import tuner
from tuner.errors import ExitCode

ROOT = Path(__file__).parents[2]
SCRIPT = Path(sys.executable).with_name("cifake-tune")
CODE = "from cifake_tune import main; main()"
ORIGIN = "import sys; before = list(sys.path); import cifake_tune, tuner, k8s; print(tuner.__file__, k8s.__file__)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose `tuner.py` and `k8s` break a program that imports them."""
    (tmp_path / "tuner.py").write_text("raise SystemExit('this is the tuner of the user')\n")
    (tmp_path / "k8s").mkdir()
    (tmp_path / "k8s" / "__init__.py").write_text("raise SystemExit('this is the k8s of the user')\n")
    return tmp_path


def start(folder: Path, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("CIFAKE_TUNE_", "PYTHON"))}
    return subprocess.run(
        command, cwd=folder, env=inherited | environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_launcher_of_the_image_does_nothing_in_a_process_of_a_pool(folder: Path) -> None:
    """`multiprocessing` runs the program's file in each process that it spawns, under another name than __main__."""
    text = re.search(r"printf '(.+)' >/opt/venv/bin/cifake-tune", (ROOT / "docker" / "Dockerfile").read_text())
    assert text is not None
    launcher = folder / "launcher.py"
    launcher.write_text(text[1].replace("\\n", "\n"))
    for name, printed in (("__mp_main__", ""), ("__main__", f"{tuner.__version__}\n")):
        code = f"import runpy; runpy.run_path('launcher.py', run_name={name!r})"
        done = start(folder, sys.executable, "-c", code, "--version")
        assert (done.returncode, done.stdout, done.stderr) == (0, printed, "")


@pytest.mark.parametrize("path", [".", "", ":.", "FOLDER"])
@pytest.mark.parametrize(
    "command",
    [(SCRIPT,), (sys.executable, "-m", "cifake_tune"), (sys.executable, "-c", CODE)],
    ids=["script", "m", "c"],
)
def test_it_starts_beside_a_tuner_of_the_user(folder: Path, command: tuple[str, ...], path: str) -> None:
    if not SCRIPT.exists():
        pytest.skip("the command is not installed beside this interpreter")
    done = start(folder, *command, "--version", PYTHONPATH=path.replace("FOLDER", str(folder)))
    assert (done.stdout, done.stderr, done.returncode) == (f"{tuner.__version__}\n", "", ExitCode.DONE)


def test_it_starts_without_the_working_directory_on_the_path(folder: Path) -> None:
    done = start(folder, sys.executable, "-m", "cifake_tune", "--version", PYTHONSAFEPATH="1", PYTHONPATH=".")
    assert (done.stdout, done.returncode) == (f"{tuner.__version__}\n", ExitCode.DONE), done.stderr


def test_it_starts_where_the_users_modules_are_already_imported(folder: Path) -> None:
    (folder / "tuner.py").write_text("MINE = True\n")
    (folder / "k8s" / "__init__.py").write_text("from k8s import cluster\n")
    (folder / "k8s" / "cluster.py").write_text("")
    code = f"import tuner, k8s; assert tuner.MINE; {CODE}"
    done = start(folder, sys.executable, "-c", code, "--version")
    assert (done.stdout, done.returncode) == (f"{tuner.__version__}\n", ExitCode.DONE), done.stderr


def test_its_packages_are_those_beside_it_and_the_path_stays_as_it_was(folder: Path) -> None:
    done = start(folder, sys.executable, "-c", f"{ORIGIN}; assert sys.path == before, sys.path", PYTHONPATH=".")
    assert done.stdout.split() == [str(ROOT / name / "__init__.py") for name in ("tuner", "k8s")], done.stderr


def test_data_is_packed_by_several_processes_beside_a_tuner_of_the_user(folder: Path) -> None:
    # the processes of the pool import what the parent's main module imports
    code = (
        "import sys\n"
        "from cifake_tune import main\n"
        "if __name__ == '__main__':\n"
        "    from tuner.data.processes import Workers\n"
        "    with Workers() as workers:\n"
        "        workers.start(10**6)\n"
        "        assert workers._pool is not None\n"
        "        from tuner.printable import printable\n"
        "        print(list(workers.map(printable, ['a\\tb', 'c'])))\n"
    )
    (folder / "start.py").write_text(code)
    if len(os.sched_getaffinity(0)) == 1:
        pytest.skip("one core has no pool")
    done = start(folder, sys.executable, "start.py", PYTHONPATH=".")
    assert (done.stdout, done.stderr) == ("['a�b', 'c']\n", "")


def test_everything_starts_through_it() -> None:
    others = Path(__file__), ROOT / "tests" / "compatibility" / "earlier_release.py"  # 0.1.0 had no such module
    starts = [
        str(file.relative_to(ROOT))
        for folder in ("bench", "charts", "docker", "docs", "k8s", "tests", "tools", "tuner")
        for file in (ROOT / folder).rglob("*")
        if file.suffix in {"", ".md", ".py", ".sh", ".tpl", ".yaml"} and file.is_file() and file not in others
        if any(old in file.read_text(encoding="utf-8") for old in ('"-m", "tuner', "-m tuner", "-m, tuner"))
    ]
    assert starts == []


def test_the_image_has_it() -> None:
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    assert "\nCOPY cifake_tune.py /app/\n" in dockerfile
    assert "from cifake_tune import main" in dockerfile
    assert "!cifake_tune.py" in (ROOT / ".dockerignore").read_text().splitlines()


def test_it_starts_from_a_wheel_beside_a_tuner_of_the_user(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pytest.importorskip("hatchling")
    built = tmp_path_factory.mktemp("built")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", built],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    installed = tmp_path_factory.mktemp("installed")
    [wheel] = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
        [entry_points] = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "cifake-tune = cifake_tune:main" in archive.read(entry_points).decode()
    done = start(folder, sys.executable, "-c", ORIGIN, PYTHONPATH=f".:{installed}")
    assert done.stdout.split() == [str(installed / name / "__init__.py") for name in ("tuner", "k8s")], done.stderr
