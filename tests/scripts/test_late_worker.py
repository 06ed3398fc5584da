"""A worker of a script that starts after the search, as in a pod that replaces a deleted one, ends without a chief."""

from pathlib import Path

import pytest

from tests.integration.support import place
from tests.scripts.scripts import HEAD, RANDOM, SEARCH
from tuner import names

pytestmark = pytest.mark.slow


def test_it_ends_with_0(tmp_path: Path) -> None:
    with place(tmp_path / "run", "tune") as here:
        script = tmp_path / "tune.py"
        script.write_text(HEAD + RANDOM.replace("max_trials=7", "max_trials=1") + SEARCH)
        assert here.do("run", "--script", str(script)).code == 0
        (tmp_path / "study.yaml").write_text(
            f"name: tune\nspace: {{script: tune.py, code: {tmp_path}}}\nleases: {{chief_timeout_s: 1}}\n"
        )
        late = {
            names.ENV_STUDY_FILE: str(tmp_path / "study.yaml"), names.ENV_TUNER_ID: "worker-9",
            names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: "9",
        }  # fmt: skip
        done = here.do("worker", **late)
        assert done.code == 0, done.err
        assert "has finished" in done.err + done.out
