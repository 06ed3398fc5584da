"""Whole studies whose bucket is in S3 or Azure: data, journal, checkpoints, logs and evaluation."""

import json

import pytest

from tests.integration.support import Place, settings, space
from tests.support.object_servers import ObjectServer
from tuner import names
from tuner.bucket import open_bucket

STUDY = settings(
    search__max_trials=2, training__epochs=2, evaluation__robustness_images=0, search__early_stopping__policy="none"
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["s3", "azure"])
def test_a_study_runs_from_data_to_evaluation(
    place: Place, two_colours: str, kind: str, request: pytest.FixtureRequest
) -> None:
    server: ObjectServer = request.getfixturevalue(f"{kind}_server")
    url = f"{server.scheme}://{server.new_bucket()}/some/prefix"
    storage = {**server.environment(), names.ENV_BUCKET: url}
    done = place.do("run", "--data", two_colours, *space("Tiny"), *STUDY, **storage)
    assert done.code == 0, place.logs()
    trials = place.do("trials", "--json", **storage)
    assert trials.code == 0, trials.err
    assert [trial["state"] for trial in json.loads(trials.out)] == ["COMPLETED", "COMPLETED"]
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in storage.items():
            patch.setenv(variable, value)
        stored = set(open_bucket(url).list(names.study_prefix("cifake")))
    assert {names.evaluation("cifake", names.REPORT_HTML), names.journal_segment("cifake", 1)} <= stored
    assert any(names.parse_checkpoint(name) for name in stored)
    assert not place.bucket_folder.exists()
