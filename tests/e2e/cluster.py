"""helm and kubectl as the tests use them, on whatever cluster KUBECONFIG names."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, overload

import yaml

CHART = Path(__file__).parents[2] / "charts"
WAIT_S = 300.0
"""Nothing that a test waits for takes so long, also on a busy machine."""

Result = TypeVar("Result")


class FailedError(AssertionError):
    """A command ended with an error; the message is what it printed."""


def run(*command: str, stdin: str | None = None) -> str:
    """Run a command and return what it prints."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=WAIT_S, check=False)
    if done.returncode:
        raise FailedError(f"{' '.join(command)}: {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def cifake_tune(*arguments: str) -> tuple[int, str]:
    """Run the program as a user does, and return its exit code and what it prints, as one line.

    With `--json` that is the standard output alone, because progress is shown on the other one.
    """
    done = subprocess.run(
        [sys.executable, "-m", "cifake_tune", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert "Traceback" not in done.stderr
    printed = done.stdout if "--json" in arguments else done.stdout + done.stderr
    return done.returncode, " ".join(printed.split())


@overload
def until(what: str, probe: Callable[[], bool], timeout_s: float = WAIT_S) -> bool: ...
@overload
def until(what: str, probe: Callable[[], Result | float | None], timeout_s: float = WAIT_S) -> Result: ...
def until(what: str, probe: Callable[[], object], timeout_s: float = WAIT_S) -> object:
    """Look until there is something to see; what cannot be looked at yet is not there yet."""
    deadline = time.monotonic() + timeout_s
    problem: object = "nothing was found"
    while time.monotonic() < deadline:
        try:
            if result := probe():
                return result
        except (FailedError, LookupError, ValueError) as error:
            problem = error
        time.sleep(0.5)
    raise AssertionError(f"waited {timeout_s:g} s for {what}: {problem}")


@dataclass(frozen=True)
class Namespace:
    """A namespace of its own, which enforces the restricted pod security standard."""

    name: str

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl here."""
        return run("kubectl", "-n", self.name, *arguments, stdin=stdin)

    def get(self, *what: str) -> Any:
        """Return an object, or the list of objects."""
        answer = json.loads(self.kubectl("get", *what, "-o", "json"))
        return answer["items"] if answer["kind"] == "List" else answer

    def apply(self, kind: str, name: str, **content: Any) -> None:
        """Make an object of the core API, or change it."""
        manifest = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **content}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    def run_once(
        self,
        name: str,
        image: str,
        command: Sequence[str],
        account: str | None = None,
        labels: Mapping[str, str] | None = None,
        **volumes: Any,
    ) -> str:
        """Run a command in a pod of its own, and return what it prints; each volume is mounted at /ITS_NAME."""
        container = {
            "name": name,
            "image": image,
            "command": list(command),
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [{"name": volume, "mountPath": f"/{volume}"} for volume in volumes],
        }
        seccomp = {"type": "RuntimeDefault"}
        spec = {
            "restartPolicy": "Never",
            **({"serviceAccountName": account} if account else {}),
            "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001, "seccompProfile": seccomp},
            "containers": [container],
            "volumes": [{"name": volume, **source} for volume, source in volumes.items()],
        }
        self.apply("Pod", name, metadata={"name": name, "labels": dict(labels or {})}, spec=spec)
        until(f"pod {name}", lambda: self.get("pod", name)["status"]["phase"] in ("Succeeded", "Failed"))
        logs = self.kubectl("logs", name)
        assert self.get("pod", name)["status"]["phase"] == "Succeeded", logs
        self.kubectl("delete", "pod", name, "--wait=false")
        return logs


@contextmanager
def new_namespace(name: str) -> Iterator[Namespace]:
    """Make a namespace, and remove it with all that is in it."""
    manifest = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }
    run("kubectl", "apply", "-f", "-", stdin=json.dumps(manifest))
    try:
        yield Namespace(name)
    finally:
        # where a test failed before it uninstalled its release, the namespace would wait for the workers' Job for ever
        run("kubectl", "delete", "jobs", "--all", "-n", name, "--ignore-not-found")
        run("kubectl", "delete", "namespace", name, "--wait=true", "--timeout=120s", "--ignore-not-found")


@dataclass
class Release:
    """A release of the chart, watched through the cluster's API and through its bucket."""

    namespace: Namespace
    name: str
    image: str
    """repository:tag"""
    values: dict[str, Any] = field(default_factory=dict)

    def install(self, **values: Any) -> None:
        """helm install, with values as `workers__replicas=3`."""
        self._helm("install", values)

    def upgrade(self, **values: Any) -> None:
        """helm upgrade; values that were given before stay."""
        self._helm("upgrade", values)

    def render(self) -> str:
        """helm template, with what the chart looks up in the cluster, but without hooks."""
        command = ["helm", "template", self.name, str(CHART), "-n", self.namespace.name, "--dry-run=server"]
        return run(*command, "--no-hooks", "-f", "-", stdin=self._all_values())

    def uninstall(self) -> None:
        """helm uninstall, until its pods are gone."""
        run("helm", "uninstall", self.name, "-n", self.namespace.name)
        until("the pods to go", lambda: not self.pods())

    def at_work(self) -> set[str]:
        """Return the workers that have a trial."""
        return {trial["worker"] for trial in self.trials() if trial["state"] == "RUNNING"}

    def test(self) -> str:
        """helm test."""
        return run("helm", "test", self.name, "-n", self.namespace.name, "--timeout", "4m")

    # ---- its objects --------------------------------------------------------------------------------

    def labels(self, component: str) -> str:
        """Return the label selector of a component, or of all."""
        of_component = f",app.kubernetes.io/component={component}" if component else ""
        return f"app.kubernetes.io/instance={self.name}{of_component}"

    def pods(self, component: str = "") -> list[Any]:
        """Return its pods, oldest first."""
        pods = self.namespace.get("pods", "-l", self.labels(component))
        return sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def running(self, component: str) -> list[Any]:
        """Return its pods that run, those that are about to end left out."""
        return [
            pod
            for pod in self.pods(component)
            if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]

    def job(self, component: str) -> Any:
        """Return its one Job of a component."""
        (job,) = self.namespace.get("jobs", "-l", self.labels(component))
        return job

    def is_complete(self, component: str) -> bool:
        """Say whether the Job has completed; an AssertionError with the logs where it failed."""
        conditions = conditions_of(self.job(component))
        assert "Failed" not in conditions, f"{conditions['Failed']}\n{self.logs(component)}"
        return "Complete" in conditions

    def logs(self, component: str) -> str:
        """Return the logs of all pods of a component that are there."""
        return self.namespace.kubectl("logs", "-l", self.labels(component), "--prefix", "--tail=-1")

    # ---- its study ----------------------------------------------------------------------------------

    def ask(self, *arguments: str) -> str:
        """Run `cifake-tune` beside the bucket, which outlives all other pods."""
        return self.namespace.kubectl(
            *("exec", f"deployment/{self.chart_name}-bucket", "-c", "bucket", "--"),
            *("env", "STORAGE_EMULATOR_HOST=http://localhost:4443", "cifake-tune", *arguments),
            *("--bucket", "gs://cifake-tune"),
        )

    def trials(self) -> list[Any]:
        """Return the trials, as `cifake-tune trials --json` prints them; none before the study has begun."""
        try:
            trials: list[Any] = json.loads(self.ask("trials", "--json"))
        except FailedError:
            return []
        return trials

    def status(self) -> Mapping[str, Any]:
        """Return what `cifake-tune status --json` prints."""
        status: Mapping[str, Any] = json.loads(self.ask("status", "--json"))
        return status

    def epochs(self) -> int:
        """Return how many epochs have been reported."""
        return sum(int(trial["epochs"]) for trial in self.trials())

    def await_evaluation(self) -> None:
        """Wait until all is over."""
        until("the evaluation", lambda: self.is_complete("evaluator"), 2 * WAIT_S)  # it waits for the whole search
        until("the chief to end", lambda: self.is_complete("chief"))
        until("the workers to end", lambda: self.is_complete("worker"))

    @property
    def chart_name(self) -> str:
        """What the names of its objects begin with."""
        return self.name if "cifake-tune" in self.name else f"{self.name}-cifake-tune"

    def _helm(self, verb: str, values: Mapping[str, Any]) -> None:
        for key, value in values.items():
            section = self.values
            *path, last = key.split("__")
            for part in path:
                section = section.setdefault(part, {})
            section[last] = value
        run("helm", verb, self.name, str(CHART), "-n", self.namespace.name, "-f", "-", stdin=self._all_values())

    def _all_values(self) -> str:
        repository, _, tag = self.image.rpartition(":")
        at_once = {"metrics": {"lingerSeconds": 0}}  # at the end of a study nobody waits for a scrape
        return yaml.safe_dump(at_once | {"image": {"repository": repository, "tag": tag}} | self.values)


def conditions_of(resource: Any) -> dict[str, str]:
    """Return the conditions of an object that are true, with their messages."""
    conditions = resource["status"].get("conditions", ())
    return {c["type"]: c.get("message", "") for c in conditions if c["status"] == "True"}
