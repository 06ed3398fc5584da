"""Time from `helm install` to the first training step, compared with a bare pod that imports TensorFlow.

Both run in turns on the cluster of KUBECONFIG with the same image, which is pulled to every node beforehand. The bare
pod only runs `import tensorflow`; it is timed from its creation to the end of the import. The release is installed with
no other value than the image, in a separate namespace and with a separate volume; it is timed from the command to the
end of the first batch of the first trial. (Its space is the seed space in a class that prints this time.) Processes
report times by the clock of their node.

usage: python bench/kubernetes.py --image REPOSITORY:TAG [--rounds 5] [--json bench/results/kubernetes.json]
       default image: CIFAKE_TUNE_E2E_IMAGE; without an image or a cluster, the benchmark is skipped
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 3.0
"""Maximum ratio of the release's time to the bare pod's."""
WAIT_S = 300.0
POLL_S = 2.0
RELEASE = "start"
SPACE = """
import time

import keras

from tuner.spaces.seed import SeedSpace


class FirstStep(keras.callbacks.Callback):
    printed = False

    def on_train_batch_end(self, batch, logs=None):
        if not FirstStep.printed:
            FirstStep.printed = True
            print(f"first step at {time.time():.3f}", flush=True)


class TimedSpace(SeedSpace):
    def build(self, hp):
        model = super().build(hp)
        fit = model.fit
        model.fit = lambda *args, callbacks, **more: fit(*args, callbacks=[FirstStep(), *callbacks], **more)
        return model
"""
BARE = """
import time
began = time.time()
import tensorflow
print(f"began at {began:.3f}, imported at {time.time():.3f}", flush=True)
"""
MILESTONES = {
    "data: packed": ("data", "has the data set"),
    "chief: listens": ("chief", "listens on port"),
    "worker: joins": ("worker", "joins study"),
    "worker: has a trial": ("worker", "attempt 1: "),
}
"""Intermediate times: the first line in the log of a component that contains these words."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", default=os.environ.get("CIFAKE_TUNE_E2E_IMAGE"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=ROOT / "bench" / "results" / "kubernetes.json")
    arguments = parser.parse_args()
    if not arguments.image or not shutil.which("helm") or not _answers("kubectl", "get", "--raw", "/readyz"):
        print("bench/kubernetes.py is skipped: there is no --image, or KUBECONFIG names no reachable cluster")
        return
    with namespace("bench-start") as space:
        pull(space, arguments.image)
        bare, ours = [], []
        for number in range(arguments.rounds):
            bare.append(bare_pod(space, arguments.image, f"bare-{number}"))
            ours.append(release(space, arguments.image))
            print(f"round {number + 1}: bare pod {bare[-1]['seconds']:.1f} s, release {ours[-1]['first step']:.1f} s")
    result = summary(bare, ours)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    show(result)


def pull(space: str, image: str) -> None:
    """Pull the image to every node."""
    nodes = json.loads(_run("kubectl", "get", "nodes", "-o", "json"))["items"]
    for node in nodes:
        name = node["metadata"]["name"]
        pod = _pod(f"pull-{name}", image, ["true"])
        pod["spec"]["nodeName"] = name
        _run("kubectl", "-n", space, "create", "-f", "-", stdin=json.dumps(pod))
    for node in nodes:
        _await_log(space, f"pull-{node['metadata']['name']}", "")
    _run("kubectl", "-n", space, "delete", "pods", "--all")


def bare_pod(space: str, image: str, name: str) -> dict[str, float]:
    """Return the seconds from a pod's creation to the end of its import, and the seconds of the import alone."""
    pod = _pod(name, image, ["python", "-c", BARE])
    began = time.time()
    _run("kubectl", "-n", space, "create", "-f", "-", stdin=json.dumps(pod))
    times = _await_log(space, name, r"began at ([\d.]+), imported at ([\d.]+)")
    _run("kubectl", "-n", space, "delete", "pod", name, "--wait")
    return {"seconds": float(times[2]) - began, "import": float(times[2]) - float(times[1])}


def release(space: str, image: str) -> dict[str, float]:
    """Return the seconds from `helm install` to the first training step and to the milestones before it."""
    repository, _, tag = image.rpartition(":")
    values = {
        "image": {"repository": repository, "tag": tag},
        "study": {"space": {"import": "timed:TimedSpace"}},
        "space": {"code": {"timed.py": SPACE}},
        "bucket": {"emulator": {"keep": False}},
    }
    began = time.time()
    _run("helm", "install", RELEASE, str(ROOT / "charts"), "-n", space, "-f", "-", stdin=yaml.safe_dump(values))
    times = {"helm: has installed": time.time() - began}
    deadline = time.monotonic() + WAIT_S
    while not (steps := re.findall(r"first step at ([\d.]+)", _logs(space, "worker"))):
        if time.monotonic() > deadline:
            raise SystemExit(f"no worker has trained after {WAIT_S:g} s; see cifake-tune status --release {RELEASE}")
        time.sleep(POLL_S)
    for what, (component, words) in MILESTONES.items():
        lines = [line.split(" ", 2) for line in _logs(space, component).splitlines() if words in line]
        if lines:
            times[what] = min(datetime.fromisoformat(line[1]).timestamp() for line in lines) - began
    times["first step"] = min(map(float, steps)) - began
    _run("helm", "uninstall", RELEASE, "-n", space, "--wait")
    _run("kubectl", "-n", space, "wait", "--for=delete", "pods", "--all", "--timeout=120s")
    return times


def summary(bare: list[dict[str, float]], ours: list[dict[str, float]]) -> dict[str, Any]:
    """Return the medians in seconds, and the ratio of both sides."""
    pod_s = statistics.median(times["seconds"] for times in bare)
    first_step_s = statistics.median(times["first step"] for times in ours)
    return {
        "rounds": len(bare),
        "ratio": round(first_step_s / pod_s, 2),
        "bare_pod_s": round(pod_s, 2),
        "bare_import_alone_s": round(statistics.median(times["import"] for times in bare), 2),
        "release_first_step_s": round(first_step_s, 2),
        "on_the_way_s": {
            what: round(statistics.median(times[what] for times in ours), 2)
            for what in ours[0]
            if all(what in times for times in ours)
        },
        "bare_pod_all_s": [round(times["seconds"], 2) for times in bare],
        "release_all_s": [round(times["first step"], 2) for times in ours],
        "cores": os.cpu_count(),
    }


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    print(
        f"\n{result['rounds']} rounds in turns, medians, in seconds; image already pulled; {result['cores']} cores here"
    )
    print(f"{'bare pod: from creation to the end of import tensorflow':60}{result['bare_pod_s']:8.2f}")
    print(f"{'  the import alone':60}{result['bare_import_alone_s']:8.2f}")
    print(f"{'release: from helm install to the first training step':60}{result['release_first_step_s']:8.2f}")
    for what, seconds in result["on_the_way_s"].items():
        print(f"{f'    {what}':60}{seconds:8.2f}")
    print(f"{f'ratio (limit {LIMIT:g})':60}{result['ratio']:8.2f}")


@contextmanager
def namespace(name: str) -> Iterator[str]:
    """Create a namespace, and delete it at the end."""
    _run("kubectl", "create", "namespace", name)
    try:
        yield name
    finally:
        _run("kubectl", "delete", "namespace", name)


def _pod(name: str, image: str, command: list[str]) -> dict[str, Any]:
    container = {"name": "main", "image": image, "command": command}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "containers": [container], "enableServiceLinks": False},
    }


def _await_log(space: str, pod: str, pattern: str) -> re.Match[str]:
    """Wait until a pod has succeeded, and return the match of `pattern` in its log."""
    _run("kubectl", "-n", space, "wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{pod}", "--timeout=300s")
    match = re.search(pattern, _run("kubectl", "-n", space, "logs", pod))
    assert match, f"pod {pod} did not write {pattern}"
    return match


def _logs(space: str, component: str) -> str:
    labels = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component={component}"
    command = ["kubectl", "-n", space, "logs", "-l", labels, "--tail=-1", "--prefix", "--timestamps"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT_S)
    return done.stdout  # empty if there are no pods, or they are not running yet


def _answers(*command: str) -> bool:
    try:
        return not subprocess.run(command, capture_output=True, check=False, timeout=30).returncode
    except (OSError, subprocess.TimeoutExpired):
        return False


def _run(*command: str, stdin: str | None = None) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=WAIT_S)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.returncode}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
