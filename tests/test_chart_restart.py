"""An upgrade that replaces the workers starts a chief for them, unless one serves workers already."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHARTS = Path(__file__).parents[1] / "charts"
SUITE = Path(__file__).parent / "chart_restart.yaml"


@pytest.mark.skipif(not shutil.which("helm-unittest"), reason="needs helm and helm-unittest")
def test_no_upgrade_leaves_new_workers_without_a_chief(tmp_path: Path) -> None:
    chart = tmp_path / "charts"
    shutil.copytree(CHARTS, chart, ignore=shutil.ignore_patterns("tests"))
    (chart / "tests").mkdir()
    command = ["helm", "template", "night", str(chart), "--namespace", "lab", "--set", "bucket.url=gs://runs"]
    manifests = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    suite = SUITE.read_text(encoding="utf-8")
    for component in ("chief", "worker", "evaluator"):
        (found,) = set(re.findall(rf"\n  name: night-cifake-tune-{component}-([0-9a-f]{{8}})\n", manifests))
        suite = suite.replace(f"%{component}%", found)
    (template,) = set(re.findall(r"cifake-tune/template: \"?(\w+)", manifests))
    (chart / "tests" / "restart_test.yaml").write_text(suite.replace("%template%", template), encoding="utf-8")
    done = subprocess.run(["helm-unittest", str(chart)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout
    assert "15 passed, 15 total" in done.stdout
