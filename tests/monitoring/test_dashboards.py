"""The dashboards are what their source says, and ask for metrics that there are."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.prometheus import DASHBOARDS, MISSING, queries, tool
from tuner.monitoring import catalogue
from tuner.monitoring.catalogue import MetricKind

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "charts" / "dashboards" / "generate.py"
PROMTOOL = tool("promtool")


def panels(file: Path) -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["panels"]
    return [panel for panel in panels if panel["type"] != "row"]


def test_the_files_are_what_their_source_says(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, SOURCE, tmp_path], env=environment, check=True)
    generated = {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()}
    assert generated == {file.name: file.read_text(encoding="utf-8") for file in DASHBOARDS}, "run `make docs`"


def test_there_are_three_each_of_one_chosen_study() -> None:
    boards = [json.loads(file.read_text(encoding="utf-8")) for file in DASHBOARDS]
    assert [board["uid"] for board in boards] == ["cifake-tune-chief", "cifake-tune-search", "cifake-tune-workers"]
    for board in boards:
        assert [variable["name"] for variable in board["templating"]["list"]] == ["datasource", "namespace", "study"]


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_every_panel_says_what_it_shows_and_asks_the_chosen_prometheus(file: Path) -> None:
    for panel in panels(file):
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_no_two_panels_overlap(file: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(file.read_text(encoding="utf-8"))["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_every_query_is_of_a_metric_and_labels_that_there_are(file: Path) -> None:
    families = {str(family.name): family for family in (*catalogue.BOTH, *catalogue.CHIEF, *catalogue.WORKER)}
    for query in queries(file):
        selectors = re.findall(r"(cifake_tune_\w+)\{([^}]*)\}", query.expression)
        assert selectors or "process_" in query.expression
        for name, selector in selectors:
            plain = re.sub("_(bucket|count|sum)$", "", name) if name not in families else name
            family = families[plain]
            assert (plain != name) == (family.kind is MetricKind.HISTOGRAM), name
            assert set(re.findall(r"(\w+)=", selector)) <= {"study", "namespace", *family.labels}
            assert 'study="$study", namespace=~"$namespace"' in selector


@pytest.mark.skipif(PROMTOOL is None, reason=MISSING.format("promtool"))
def test_a_search_that_goes_on_again_is_not_shown_as_over(tmp_path: Path) -> None:
    """Its trials were raised in number, so that the end that an earlier chief saw is none."""
    assert PROMTOOL is not None
    (search,) = (file for file in DASHBOARDS if file.stem == "search")
    (finished,) = (query for query in queries(search) if query.panel == "Finished")
    series = {
        'cifake_tune_chief_started_timestamp_seconds{study="night", instance="a"}': "0x10 stale",
        'cifake_tune_search{study="night", state="running", instance="a"}': "1x5 0x4 stale",
        'cifake_tune_search_ended_timestamp_seconds{study="night", instance="a"}': "_x6 360x4 stale",
        'cifake_tune_chief_started_timestamp_seconds{study="night", instance="b"}': "_x30 1800x10",
        'cifake_tune_search{study="night", state="running", instance="b"}': "_x30 1x10",
        'cifake_tune_search_left_seconds{study="night", instance="b"}': "_x35 600x10",
    }
    expected = [
        {"expr": finished.of("night"), "eval_time": minutes, "exp_samples": [{"value": at_ms}] if at_ms else []}
        for minutes, at_ms in (("20m", 360_000), ("32m", None), ("36m", 1000 * (36 * 60 + 600)))
    ]
    input_series = [{"series": name, "values": values} for name, values in series.items()]
    cases = tmp_path / "finished.yaml"
    test = {"interval": "1m", "input_series": input_series, "promql_expr_test": expected}
    cases.write_text(json.dumps({"tests": [test]}), encoding="utf-8")  # which is YAML, too
    done = subprocess.run([PROMTOOL, "test", "rules", cases], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
