"""The devices that a worker reports."""

import pytest

from tuner import names
from tuner.training import devices


@pytest.mark.parametrize(
    ("found", "chosen", "shown"),
    [
        (1, "GPU 1", "GPU 1"),
        (2, "GPU 0, GPU 2", "GPU 0, GPU 2"),
        (2, "GPU 1", "2 x GPU"),  # these are not those that `run` chose
        (1, "GPU 0, GPU 2", "GPU"),
        (0, "GPU 0, GPU 2", "CPU"),
    ],
)
def test_the_gpus_that_run_chose_are_named_if_as_many_are_found(
    found: int, chosen: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "gpu_count", lambda: found)
    monkeypatch.setattr(devices, "_model_of_gpu", lambda: "")
    assert devices.device({names.ENV_GPU: chosen}) == shown
