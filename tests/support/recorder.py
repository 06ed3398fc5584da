"""A plugin of pytest that records in docs/results/support.json what a run has tried.

Usage: `pytest -p tests.support.recorder`. A run in which a test fails, or none passes, records nothing. What a test
tried follows from its parameters: a backend, a kind of bucket. Tests of a cluster tried the one that kubectl reaches.
"""

import datetime
import json
import os
import platform
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tools import support_page
from tools.support_page import BACKENDS, BUCKETS, CPU, AnyRun, BackendRun, BucketRun, ClusterRun, SuiteRun

ROOT = Path(__file__).parents[2]
FAST = "not slow and not e2e and not exhaustive"
"""As the Makefile selects the fast tests."""
VERSIONS = """
import json, platform, sys
from importlib.metadata import PackageNotFoundError, version
def of(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None
found = {name: of(name) for name in ("jax", "keras", "keras-tuner")}
found["tensorflow"] = of("tensorflow-cpu") or of("tensorflow")
print(json.dumps({"python": platform.python_version(), **found}))
"""


class Recorder:
    """Counts the passed tests of a session by what they tried, and records them at its end."""

    def __init__(self, config: pytest.Config) -> None:
        self._markers = config.option.markexpr
        self._passed: Counter[tuple[str, str]] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test that has passed."""
        if report.when == "call" and report.passed:
            self._passed.update(tried(report.nodeid))

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Record what was tried, if all tests passed."""
        if exitstatus != pytest.ExitCode.OK or not self._passed:
            return
        runs: list[AnyRun] = []
        when = {"date": datetime.datetime.now(datetime.UTC).date(), "commit": commit()}
        for (kind, subject), passed in self._passed.items():
            if kind == "backend":
                runs.append(BackendRun(**when, **backend_versions(subject), device=CPU, passed=passed))
            elif kind == "bucket":
                runs.append(BucketRun(**when, bucket=subject, passed=passed))
            elif kind == "cluster":
                runs.append(ClusterRun(**when, **cluster_versions(), passed=passed))
            elif self._markers == FAST:
                runs.append(SuiteRun(**when, python=platform.python_version(), passed=passed))
        support_page.write(support_page.read().with_runs(runs))


def tried(test: str) -> set[tuple[str, str]]:
    """Return the kinds and subjects that a test is evidence for; each test is for its suite."""
    parameters = set(re.split(r"[-\[\]]", test.partition("[")[2]))
    if test.startswith("tests/e2e/"):
        return {("cluster", "")}
    subjects = {("suite", "")}
    if test.startswith("tests/integration/"):
        subjects |= {("backend", backend) for backend in parameters & set(BACKENDS)}
    if test.startswith("tests/bucket/test_contract.py"):
        subjects |= {("bucket", kind) for kind in parameters & set(BUCKETS)}
    return subjects


def backend_versions(backend: str) -> dict[str, Any]:
    """Return what the interpreter with a backend has, the tests' own or the one named for JAX."""
    python = os.environ.get("CIFAKE_TUNE_JAX_PYTHON", sys.executable) if backend == "jax" else sys.executable
    done = subprocess.run([python, "-c", VERSIONS], capture_output=True, text=True, check=True)
    versions = json.loads(done.stdout)
    return {
        "backend": backend,
        "backend_version": versions[backend],
        "python": versions["python"],
        "keras": versions["keras"],
        "keras_tuner": versions["keras-tuner"],
    }


def cluster_versions() -> dict[str, Any]:
    """Return the versions of the cluster and of Helm, and the image's tag."""
    server = json.loads(output("kubectl", "version", "-o", "json"))["serverVersion"]["gitVersion"]
    helm = output("helm", "version", "--template", "{{.Version}}").removeprefix("v")
    image = os.environ["CIFAKE_TUNE_E2E_IMAGE"]
    return {"kubernetes": server.removeprefix("v"), "helm": helm, "image": image.rpartition(":")[2]}


def commit() -> str:
    """Return the commit that is tested; with `-dirty` if there are other changes than the record and its page."""
    written = [f":!docs/{name}" for name in ("results/support.json", "support.md")]
    changes = output("git", "status", "--porcelain", "--", ".", *written)
    return output("git", "rev-parse", "--short=8", "HEAD") + ("-dirty" if changes else "")


def output(*command: str) -> str:
    """Return what a command prints."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def pytest_configure(config: pytest.Config) -> None:
    """Record in the process that hears of all tests, not in xdist's."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(config), "support-recorder")
