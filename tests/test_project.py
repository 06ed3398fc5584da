"""The repository: what is committed, that the locks are portable, that the documents say what is so."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import tuner
from tests.integration.support import FASTEST_BACKEND, JAX_ENVIRONMENT, python_with
from tests.support.modules import module_at
from tuner.config import settings
from tuner.config.loading import all_keys, parse
from tuner.config.yaml import parse_value

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
DOCS = ROOT / "docs"
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]


def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def blocks(text: str, language: str) -> list[str]:
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for its_language, block in fences if its_language == language]


# ---- what is committed --------------------------------------------------------------------------
def test_no_file_is_larger_than_a_mebibyte() -> None:
    assert [str(file) for file in tracked() if file.stat().st_size > 2**20] == []


def test_no_file_names_a_home_directory() -> None:
    home = re.compile(rb"(?<![\w.])/(?:root|home/\w+|Users/\w+)/")
    assert [str(file) for file in tracked() if home.search(file.read_bytes())] == []


def test_no_file_is_byte_code_or_of_a_virtual_environment() -> None:
    assert [str(file) for file in tracked() if {"__pycache__", ".venv", ".venv-jax"} & set(file.parts)] == []


# ---- versions and locks -------------------------------------------------------------------------
def test_output_that_nobody_reads_any_more_is_no_error() -> None:
    command = [sys.executable, "-m", "cifake_tune", "schema"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        assert program.stderr.read() == ""
        assert program.wait(60) == 0


def test_the_program_says_its_version_and_needs_no_command_for_that() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cifake_tune", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{tuner.__version__}\n", "")


def test_the_version_is_said_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "tuner/__init__.py"
    places = [
        file.relative_to(ROOT).as_posix()
        for file in tracked()
        if file.suffix == ".py" and re.search(r"^__version__ *=", file.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert places == ["tuner/__init__.py"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", tuner.__version__)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_pins_everything_by_hash_and_names_no_index(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^ *(-i|-f|--(extra-)?index-url|--find-links|--trusted-host)\b", text, re.MULTILINE)
    entries = re.findall(r"^\S.*(?:\n +.*)*", text, re.MULTILINE)
    assert len(entries) > (0 if lock.stem == "emulator" else 20)
    assert [
        entry for entry in entries if not re.match(r"[a-z0-9._-]+==\S+.*\n +--hash=sha256:[0-9a-f]{64}", entry)
    ] == []


def test_all_locks_agree_where_they_pin_the_same_package() -> None:
    pins: dict[tuple[str, str], set[str]] = {}
    for lock in LOCKS:
        for name, version, marker in re.findall(r"^([a-z0-9._-]+)==(\S+)(.*?) \\$", lock.read_text(), re.MULTILINE):
            python = next(iter(re.findall(r"python_full_version [<>=]+ '[\d.]+'", marker)), "")
            pins.setdefault((name, python), set()).add(version)
    assert {name: versions for name, versions in pins.items() if len(versions) > 1} == {}


def test_every_dependency_is_in_the_locks() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[^\w.-]", requirement)[0].lower() for requirement in requirements}

    for lock, extra in {
        "tensorflow": ["tensorflow"],
        "cuda": ["cuda"],
        "jax": ["jax"],
        "jax-cuda": ["jax-cuda"],
        "dev": ["tensorflow", "dev"],
    }.items():
        text = (ROOT / "requirements" / f"{lock}.txt").read_text()
        locked = set(re.findall(r"^([a-z0-9._-]+)==", text, re.MULTILINE))
        wanted = names(project["dependencies"]).union(*(names(extras[name]) for name in extra))
        assert wanted - locked == set(), lock


# ---- documents ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "block",
    [
        block
        for file in DOCUMENTS
        # these have the chart's values: tests/test_chart.py
        if file.name not in ("kubernetes.md", "gpus.md", "air-gapped.md")
        for block in blocks(file.read_text(encoding="utf-8"), "yaml")
    ],
)
def test_every_study_in_the_documents_is_valid(block: str) -> None:
    assert parse(parse_value(block, "the document"), "the document") != settings.Study()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_the_make_targets_in_a_document_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.MULTILINE))
    assert {"run", "test", "lint", "bench", "lock"} <= targets
    text = document.read_text(encoding="utf-8")
    named = re.findall(r"`make ([a-z0-9-]+)\b", text)
    typed = [
        target
        for block in blocks(text, "console")
        for target in re.findall(r"^\$ (?:\w+=\S+ )*make ([a-z0-9-]+)", block, re.MULTILINE)
    ]
    assert {*named, *typed} <= targets
    if document.name == "README.md":
        assert {"run", "image"} <= set(typed)


def test_the_commands_in_the_documents_exist_with_their_options() -> None:
    program = (
        "import json, typer.main, tuner.cli.app\n"
        "def options(command):\n"
        "    return [name for each in command.params for name in [*each.opts, *each.secondary_opts]]\n"
        "found, app = {}, typer.main.get_command(tuner.cli.app.app)\n"
        "for name, command in app.commands.items():\n"
        "    found[name] = options(command)\n"
        "    for second, below in getattr(command, 'commands', {}).items():\n"
        "        found[f'{name} {second}'] = options(below)\n"
        "print(json.dumps(found))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    known: dict[str, list[str]] = json.loads(done.stdout)
    commands: dict[str, set[str]] = {}
    for document in DOCUMENTS:
        for block in blocks(document.read_text(encoding="utf-8"), "console"):
            typed = r"^\$ (?:\w+=\S+ )*(?:\.venv/bin/)?cifake-tune ((?:data|export) [\w-]+|\w+)(.*?)(?: {2,}#.*)?$"
            for command, arguments in re.findall(typed, block.replace("\\\n", " "), re.MULTILINE):
                assert command in known, f"{document.name}: {command}"
                unknown = set(re.findall(r"(?<= )--?[a-z][a-z-]*", arguments)) - set(known[command])
                assert not unknown, f"{document.name}: {command} has no {unknown}"
                commands.setdefault(document.name, set()).add(command)
    assert {"run", "status", "trials", "logs", "predict", "doctor", "data fetch"} <= commands["README.md"]


def test_the_exit_codes_in_the_documents_are_those_of_the_program() -> None:
    from tuner.errors import ExitCode

    page = (DOCS / "exit-codes.md").read_text(encoding="utf-8")
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)} == {code.value for code in ExitCode}


def test_the_files_of_an_evaluation_in_the_documents_are_those_it_writes() -> None:
    from tuner import names

    written = {
        names.METRICS_JSON, names.PREDICTIONS_CSV, names.CONFUSION_PNG, names.CONFUSION_JSON, names.BEST_MODEL,
        names.CALIBRATION_PNG, names.ROBUSTNESS_PNG, names.MOST_WRONG_PNG, names.PROVENANCE_JSON, names.MODEL_CARD,
        names.REPORT_HTML,
    }  # fmt: skip
    in_list = {
        file
        for row in re.findall(
            r"^\| `studies/cifake/evaluation/(.*?) \|", (DOCS / "files.md").read_text(encoding="utf-8"), re.MULTILINE
        )
        for file in re.findall(r"\w+\.[\w.]+", row)
    }
    page = (DOCS / "evaluation.md").read_text(encoding="utf-8")
    table = page[page.index("| file | contents |") : page.index("## What is measured")]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    in_docs = {file for row in rows for file in re.findall(r"\w+\.[\w.]+", row)}
    assert in_list == written - {names.CONFUSION_JSON}
    assert in_docs == written - {names.CONFUSION_JSON}, "its name is written as .json after that of the picture"


def test_the_folders_of_the_bucket_in_the_documents_are_those_of_a_study() -> None:
    from tuner import names

    page = (DOCS / "files.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"^\| `((?:studies|data)/\S*)`", page, re.MULTILINE))
    assert {path for path in paths if "/evaluation/" not in path} == {
        names.tensorboard_prefix("cifake"),
        names.logs_prefix("cifake") + "<trial>/<attempt>/",
        names.trials_prefix("cifake") + "<trial>/<attempt>/",
        names.journal_prefix("cifake"),
        names.snapshots_prefix("cifake"),
        names.control_prefix("cifake"),
        names.notifications_prefix("cifake"),
        names.data_prefix("<digest>"),
        names.prepared("cifake"),
    }


def test_the_page_of_settings_is_up_to_date() -> None:
    generate = module_at(ROOT / "tools" / "reference_pages.py")
    page = generate.settings()
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == page, "run `make docs`"
    assert [key for key in all_keys() if f"| `{key}` |" not in page] == []


@pytest.mark.slow
def test_the_space_in_the_documents_can_be_searched(tmp_path: Path) -> None:
    (tmp_path / "my_space.py").write_text(
        blocks((DOCS / "your-model.md").read_text(encoding="utf-8"), "python")[0], encoding="utf-8"
    )
    program = (
        "from tuner import spaces\n"
        "from tuner.config.space_settings import Space\n"
        "from tuner.spaces.exploration import explore\n"
        f"space = Space(import_='my_space:MySpace', code={str(tmp_path)!r})\n"
        "found = explore(spaces.load_space(space, (32, 32, 3), 2))\n"
        "assert {'blocks', 'filters', 'dropout', 'learning_rate'} == set(found.values), found.values\n"
    )
    done = subprocess.run(
        [python_with(FASTEST_BACKEND), "-c", program],
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": FASTEST_BACKEND, **JAX_ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
