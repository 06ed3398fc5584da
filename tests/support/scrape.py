"""What a process shows over HTTP, as Prometheus and the kubelet read it."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, overload

from prometheus_client.parser import text_string_to_metric_families

from tuner import names
from tuner.monitoring.metric_names import LABEL_STUDY

Result = TypeVar("Result")


@dataclass(frozen=True)
class Scraped:
    """One answer of /metrics."""

    text: str
    values: dict[tuple[str, frozenset[tuple[str, str]]], float]
    """By the sample's name and labels, but the study's."""

    @property
    def names(self) -> set[str]:
        """The names of all samples."""
        return {name for name, _ in self.values}

    def value(self, name: str, **labels: str) -> float:
        """Return a sample's value."""
        return self.values[name, frozenset(labels.items())]

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of the samples that have these labels among theirs."""
        wanted = labels.items()
        return sum(value for (its, have), value in self.values.items() if its == name and wanted <= dict(have).items())


@dataclass(frozen=True)
class Answer:
    """What a check says."""

    status: int
    text: str


def get(address: str, path: str) -> Answer:
    """Ask for a page. Raises OSError where nobody listens."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=30) as answer:
            return Answer(answer.status, answer.read().decode())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.read().decode())


def scrape(address: str) -> Scraped:
    """Read a process's metrics, as Prometheus does."""
    answer = get(address, names.HTTP_METRICS)
    assert answer.status == 200, answer.text
    values = {
        (sample.name, frozenset(item for item in sample.labels.items() if item[0] != LABEL_STUDY)): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    return Scraped(answer.text, values)


@overload
def until(what: str, probe: Callable[[], bool], timeout_s: float = 120.0) -> bool: ...
@overload
def until(what: str, probe: Callable[[], Result | float | None], timeout_s: float = 120.0) -> Result: ...
def until(what: str, probe: Callable[[], object], timeout_s: float = 120.0) -> object:
    """Look until there is something to see; who does not listen yet shows nothing yet."""
    deadline = time.monotonic() + timeout_s
    problem: object = None
    while time.monotonic() < deadline:
        try:
            if result := probe():
                return result
        except (OSError, KeyError) as error:
            problem = error
        time.sleep(0.1)
    raise AssertionError(f"waited {timeout_s:g} s for {what}: {problem}")
