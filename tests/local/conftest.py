"""What the tests of a pod's processes share."""

from pathlib import Path

import pytest

from tuner.local import children, pod_process, pod_workers


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FOLDER", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setattr(children, "POLL_S", 0.02)
    monkeypatch.setattr(pod_workers, "POLL_S", 0.02)
    monkeypatch.setattr(pod_workers, "CHECK_S", 0.1)
    monkeypatch.setattr(pod_process, "FIRST_PAUSE_S", 0.01)
    return tmp_path
