"""A real Prometheus, its promtool, and the queries of our dashboards, to be asked of it."""

import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.gcs_emulator import free_port
from tests.support.scrape import get, until

CHARTS = Path(__file__).parents[2] / "charts"
DASHBOARDS = sorted((CHARTS / "dashboards").glob("*.json"))
RULES = CHARTS / "alerts" / "cifake-tune.yaml"
CACHED = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "cifake-tune-tools" / "usr" / "bin"
MISSING = "needs {}: Debian's package prometheus has it, and tests/support/prometheus-tools fetches it where it can"


def tool(name: str) -> str | None:
    """Return the path of prometheus or promtool, of this machine or where tests/support/prometheus-tools put it."""
    return shutil.which(name) or shutil.which(name, path=str(CACHED))


@dataclass(frozen=True)
class PanelQuery:
    """What one panel asks."""

    dashboard: str
    panel: str
    expression: str

    @property
    def metrics(self) -> set[str]:
        """The names of ours that it asks for."""
        return set(re.findall(r"cifake_tune_\w+", self.expression))

    def of(self, study: str, rate: str = "1m", over: str = "1h") -> str:
        """Return the expression as Grafana would send it."""
        values = {"$study": study, "$namespace": ".*", "$__rate_interval": rate, "$__range": over}
        expression = self.expression
        for variable, value in values.items():
            expression = expression.replace(variable, value)
        assert "$" not in expression, expression
        return expression


def queries(dashboard: Path) -> list[PanelQuery]:
    """Return what a dashboard asks."""
    panels = json.loads(dashboard.read_text(encoding="utf-8"))["panels"]
    return [
        PanelQuery(dashboard.stem, panel["title"], target["expr"])
        for panel in panels
        for target in panel.get("targets", ())
    ]


@dataclass(frozen=True)
class Series:
    """One line of a panel."""

    labels: dict[str, str]
    points: list[tuple[float, float]]
    """Seconds since 1970, and the value then."""


class RunningPrometheus:
    """A Prometheus that scrapes every second what it is told, with our alerts loaded."""

    def __init__(self, address: str, targets: Path) -> None:
        self.address = address
        self._targets = targets

    def scrape(self, targets: Mapping[str, Mapping[str, str]]) -> None:
        """From now on scrape these addresses, each with labels of its own."""
        groups = [{"targets": [address], "labels": dict(labels)} for address, labels in sorted(targets.items())]
        new = self._targets.with_suffix(".new")
        new.write_text(json.dumps(groups), encoding="utf-8")
        new.replace(self._targets)

    def query(self, expression: str) -> list[float]:
        """Return the values that an expression has now. An AssertionError where it is none."""
        return [float(series["value"][1]) for series in self._ask("query", query=expression)]

    def over_time(self, expression: str, seconds: float) -> list[Series]:
        """Return what a panel would draw of the last seconds."""
        now = time.time()
        results = self._ask("query_range", query=expression, start=str(now - seconds), end=str(now), step="1")
        return [
            Series(series["metric"], [(float(at), float(value)) for at, value in series["values"]])
            for series in results
        ]

    def alerts(self) -> set[str]:
        """Return the names of all alerts that Prometheus knows."""
        with urllib.request.urlopen(f"http://{self.address}/api/v1/rules", timeout=20) as answer:
            groups = json.load(answer)["data"]["groups"]
        return {rule["name"] for group in groups for rule in group["rules"] if rule["type"] == "alerting"}

    def _ask(self, what: str, **parameters: str) -> list[dict[str, Any]]:
        url = f"http://{self.address}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters['query']}: {error.read().decode()}") from None
        return result


@contextmanager
def running_prometheus(folder: Path) -> Iterator[RunningPrometheus]:
    """Run a Prometheus in this folder until the end of the block."""
    targets, program, address = folder / "targets.json", tool("prometheus"), f"127.0.0.1:{free_port()}"
    assert program is not None
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "pods", "file_sd_configs": [{"files": [str(targets)]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")  # which is YAML, too
    targets.write_text("[]", encoding="utf-8")
    command = [program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address={address}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        until("Prometheus", lambda: get(address, "/-/ready").status == 200, 60)
        yield RunningPrometheus(address, targets)
    finally:
        process.terminate()
        process.wait(20)
