"""pause --scale-down and resume of a release: a chief that serves, and an API server that keeps the release's Jobs."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras_tuner
import pytest

from tests.k8s import captured
from tests.support.api_server import ApiServer, running_api_server
from tests.support.chief import running_chief
from tests.support.command_line import run_in_process
from tests.support.crew import WITHIN_S, Crew
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.config.loading import load


@dataclass
class Night:
    """A release whose bucket is a folder, its chief with a worker that has a trial, and the API server."""

    crew: Crew
    api: ApiServer
    kubeconfig: Path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the program in a process of its own: the Kubernetes client reads KUBECONFIG while it is imported."""
        return subprocess.Popen(
            [sys.executable, "-m", "cifake_tune", *arguments, "--release", "night"],
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig), "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def do(self, *arguments: str) -> tuple[int, str, str]:
        """Run the program to its end: its exit code, and what it prints."""
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=WITHIN_S)
        return process.returncode, out, err

    @property
    def parallelism(self) -> int:
        """Parallelism of the workers' Job."""
        (job,) = (job for job in self.api.objects["jobs"] if "-worker-" in job["metadata"]["name"])
        return int(job["spec"]["parallelism"])


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    space = keras_tuner.HyperParameters()
    space.Int("units", 1, 100)
    study = load(settings=["name=night", "training.epochs=4", "search.algorithm=random"])
    bucket = LocalBucket(tmp_path / "bucket")
    everything: dict[str, Any] = json.loads((captured.FOLDER / "release.json").read_text(encoding="utf-8"))
    for container in (c for job in everything["jobs"] for c in job["spec"]["template"]["spec"]["containers"]):
        kept = [each for each in container["env"] if each["name"] not in (names.ENV_BUCKET, names.ENV_EMULATOR)]
        own = {names.ENV_BUCKET: bucket.url, f"{names.ENV_SETTING}NAME": "night"}
        container["env"] = [*kept, *({"name": name, "value": value} for name, value in own.items())]
    with (
        running_chief(bucket, study, space, handles_requests=True) as chief,
        running_api_server(everything) as api,
    ):
        crew = Crew(chief)
        crew.ask("worker-0")
        crew.wait_for(lambda crew: crew.working == ["worker-0"])
        yield Night(crew, api, api.kubeconfig(tmp_path, "kube-demo"))
        crew.close()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_pods_are_removed_once_their_trials_are_handed_back_and_resume_brings_them_back(night: Night) -> None:
    with night.start("pause", "--scale-down") as pausing:
        wait_for(lambda: night.crew.chief.ask(lambda state: state.control.is_paused))
        assert night.parallelism == 3, "a worker still trains"
        night.crew.epoch("worker-0", 0)
        out, err = pausing.communicate(timeout=WITHIN_S)
    assert pausing.returncode == 0, err
    assert "Continue it with cifake-tune resume --release night." in out
    assert out.splitlines()[-1] == "The pods of 3 workers are being removed."
    assert night.parallelism == 0
    code, out, err = night.do("resume")
    assert (code, out.splitlines()[-2:]) == (
        0,
        ["The search continues.", "The pods of 3 workers are being created."],
    ), err
    assert night.parallelism == 3
    assert not night.crew.chief.ask(lambda state: state.control.is_paused)


def paused_without_pods(night: Night) -> None:
    """Pause the search, and remove the workers' pods."""
    with night.start("pause", "--scale-down") as pausing:
        wait_for(lambda: night.crew.chief.ask(lambda state: state.control.is_paused))
        night.crew.epoch("worker-0", 0)
        _, err = pausing.communicate(timeout=WITHIN_S)
    assert (pausing.returncode, night.parallelism) == (0, 0), err


def test_stop_brings_the_pods_back_so_that_the_workers_can_finish(night: Night) -> None:
    paused_without_pods(night)
    code, out, err = night.do("stop")
    assert (code, out.splitlines()[-1]) == (0, "The pods of 3 workers are being created."), err
    assert night.parallelism == 3


def test_resume_brings_the_pods_back_even_if_the_search_has_ended_during_the_pause(night: Night) -> None:
    paused_without_pods(night)
    stopped = run_in_process("stop", "--bucket", night.crew.chief.bucket.url, "--study", "night")
    assert stopped.code == 0, stopped.err
    wait_for(lambda: night.crew.chief.ask(lambda state: state.finished is not None))
    assert night.parallelism == 0
    code, out, err = night.do("resume")
    assert (code, out.splitlines()) == (2, ["The pods of 3 workers are being created."])
    assert "the search of study 'night' has finished" in err
    assert night.parallelism == 3


def test_a_pause_alone_changes_no_job(night: Night) -> None:
    code, _, err = night.do("pause")
    assert code == 0, err
    assert not night.api.patches
