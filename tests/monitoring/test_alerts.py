"""Each alert is seen to fire and to keep still, by promtool, and has a page that says what to do."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.prometheus import MISSING, RULES, tool
from tuner.monitoring.metric_names import Metric

ROOT = Path(__file__).parents[2]
TESTS = Path(__file__).with_name("alerts_test.yaml")
LOADED = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in LOADED if "alert" in rule]
PROMTOOL = tool("promtool")


@pytest.mark.skipif(PROMTOOL is None, reason=MISSING.format("promtool"))
@pytest.mark.parametrize("arguments", [("check", "rules", RULES), ("test", "rules", TESTS)], ids=["rules", "tests"])
def test_promtool_finds_nothing_wrong(arguments: tuple[str, ...]) -> None:
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_tested_to_fire_and_to_keep_still() -> None:
    cases = [case for test in yaml.safe_load(TESTS.read_text())["tests"] for case in test["alert_rule_test"]]
    for alert in ALERTS:
        outcomes = {bool(case["exp_alerts"]) for case in cases if case["alertname"] == alert["alert"]}
        assert outcomes == {True, False}, alert["alert"]


def test_each_alert_has_a_runbook() -> None:
    page = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (\w+)$", page, re.MULTILINE)
    assert headings == [alert["alert"] for alert in ALERTS]
    for alert in ALERTS:
        assert alert["annotations"]["runbook_url"] == f"docs/alerts.md#{alert['alert'].lower()}"


def test_alerts_are_of_metrics_that_there_are() -> None:
    recorded = {rule["record"] for rule in LOADED if "record" in rule}
    for rule in LOADED:
        used = set(re.findall(r"[\w:]*cifake_tune_\w+[\w:]*", rule["expr"]))
        assert used
        assert used <= {*Metric, *recorded}
