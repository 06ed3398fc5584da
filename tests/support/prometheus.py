"""A real Prometheus, its promtool, and the queries of our dashboards, to be asked of it."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

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

    def of(self, study: str, rate: str = "1m", over: str = "1h") -> str:
        """Return the expression as Grafana would send it."""
        values = {"$study": study, "$__rate_interval": rate, "$__range": over}
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
