"""The forge's workflows: what they run and may do, and that a forge would accept them."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"


def jobs(workflow: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    return found


def test_the_tests_run_on_each_supported_python() -> None:
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["classifiers"]
    supported = [match[1] for text in classifiers if (match := re.fullmatch(r".* :: Python :: (\d\.\d+)", text))]
    job = jobs(ROOT / ".github" / "workflows" / "ci.yml")["test"]
    assert job["strategy"]["matrix"]["python"] == supported
    (step,) = [step for step in job["steps"] if step.get("run") == ".ci/run"]
    assert step["env"]["BASE_PYTHON"] == "python${{ matrix.python }}"


def test_python_chooses_the_interpreter_of_the_environments() -> None:
    """`make` tries only this one, and says so if it is not fit."""
    command = ["make", "--always-make", ".venv-jax/bin/python", "BASE_PYTHON=no-such-python"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "none of these is one: no-such-python." in done.stderr


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.name)
def test_a_workflow_reads_only_and_pins_the_actions_of_others(workflow: Path) -> None:
    text = workflow.read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    assert content["permissions"] == {"contents": "read"}
    assert [job for job in content["jobs"].values() if "permissions" in job] == []
    used = re.findall(r"uses: (.*)", text)
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)] == []


@pytest.mark.slow
def test_actionlint_finds_nothing_in_the_workflows(tmp_path_factory: pytest.TempPathFactory) -> None:
    program = actionlint(tmp_path_factory.getbasetemp())
    done = subprocess.run([program, *map(str, WORKFLOWS)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def actionlint(folder: Path) -> str:
    """Return the program, which Go builds if it is not installed."""
    if installed := shutil.which("actionlint"):
        return installed
    if not shutil.which("go"):
        pytest.skip("needs actionlint, or Go to build it")
    environment = os.environ | {"GOBIN": str(folder), "CGO_ENABLED": "0"}
    built = subprocess.run(
        ["go", "install", ACTIONLINT], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    if built.returncode:
        pytest.skip(f"actionlint cannot be built: {built.stderr[-300:]}")
    return str(folder / "actionlint")
