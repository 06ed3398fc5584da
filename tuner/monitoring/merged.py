"""The metrics of several processes of one pod as one page, with a label that tells the processes apart."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric as MetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from tuner import names
from tuner.address import Address
from tuner.monitoring.http_server import Handler, Request, Response
from tuner.monitoring.metric_names import LABEL_PROCESS, Metric

TIMEOUT_S = 4.0
"""Seconds to wait for a process. The kubelet waits for 6 s, and Prometheus for 10 s."""
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the processes are in this pod


def page(address: Address, path: str) -> tuple[int, str] | None:
    """Return the status and the text of a process's page; None if the process does not answer."""
    try:
        with _OPENER.open(f"http://{address}{path}", timeout=TIMEOUT_S) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except (OSError, ValueError, http.client.HTTPException):
        return None


def pages(addresses: Mapping[str, Address], path: str) -> dict[str, tuple[int, str] | None]:
    """Return the page of each process, by the process's name. All are asked at the same time."""
    if not addresses:
        return {}
    with ThreadPoolExecutor(len(addresses)) as pool:
        return dict(zip(addresses, pool.map(lambda address: page(address, path), addresses.values()), strict=True))


def merged_metrics(texts: Mapping[str, str]) -> Response:
    """Return one page of all metrics. Each sample gets the label `process`, which is the key of its text."""
    registry = CollectorRegistry()
    registry.register(_Merged(texts))
    return Response(generate_latest(registry), "text/plain; version=0.0.4; charset=utf-8")


def metrics_route(addresses: Mapping[str, Address]) -> Handler:
    """Return the handler of a page with the metrics of all processes that answer. `addresses` may change."""

    def answer(request: Request) -> Response:
        found = pages(dict(addresses), names.HTTP_METRICS)
        return merged_metrics({process: text[1] for process, text in found.items() if text and text[0] == 200})

    return answer


def value(text: str, metric: Metric) -> float:
    """Return the sum of the samples of a metric without sub-samples; 0 if there are none."""
    found = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return sum(sample.value for sample in found if sample.name == metric)


class _Merged(Collector):
    """The families of several texts. A family of the same name in several texts becomes one family."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def collect(self) -> Iterable[MetricFamily]:
        merged: dict[str, MetricFamily] = {}
        for process, text in self._texts.items():
            for family in text_string_to_metric_families(text):
                metric = merged.setdefault(family.name, MetricFamily(family.name, family.documentation, family.type))
                metric.samples += [
                    sample._replace(labels={**sample.labels, LABEL_PROCESS: process}) for sample in family.samples
                ]
        return merged.values()
