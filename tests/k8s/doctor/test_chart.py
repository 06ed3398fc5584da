"""The search of a release that is not installed yet, as the chart renders it."""

from typing import Any

import pytest

from k8s.doctor.chart import PlannedRelease, search_of
from tuner.errors import UsageError


def objects(memory: str | None = "2Gi") -> list[Any]:
    limits = {} if memory is None else {"resources": {"limits": {"memory": memory}}}
    pods = {"spec": {"containers": [{"name": "worker", **limits}]}}
    labels = {"app.kubernetes.io/component": "worker"}
    return [
        {"kind": "ConfigMap", "metadata": {"name": "scripts"}, "data": {"a.sh": "true"}},
        {"kind": "ConfigMap", "metadata": {"name": "study"}, "data": {"study.yaml": "search: {max_hours: 8}\n"}},
        {"kind": "Job", "metadata": {"labels": {"app.kubernetes.io/component": "chief"}}, "spec": {}},
        {"kind": "Job", "metadata": {"labels": labels}, "spec": {"parallelism": 4, "template": pods}},
    ]


def test_study_workers_and_memory_are_the_releases() -> None:
    assert search_of(objects()) == PlannedRelease("search: {max_hours: 8}\n", 4, 2 << 30)
    assert search_of(objects(None)).memory_bytes is None


@pytest.mark.parametrize("missing", [1, 3])
def test_values_without_a_search_are_wrong_usage(missing: int) -> None:
    with pytest.raises(UsageError, match="renders no study or no workers"):
        search_of([item for number, item in enumerate(objects()) if number != missing])
