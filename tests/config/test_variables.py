"""Variables with this program's prefix that it does not know."""

import pytest

from tests.support.command_line import run_in_process
from tuner import names
from tuner.config.variables import check_variables
from tuner.errors import ConfigError


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("CIFAKE_TUNE_BUKET", "CIFAKE_TUNE_BUCKET"),
        ("CIFAKE_TUNE_CASH", "CIFAKE_TUNE_CACHE"),
        ("CIFAKE_TUNE_LOGFORMAT", "CIFAKE_TUNE_LOG_FORMAT"),
        ("CIFAKE_TUNE_STUDY_SEARCH__MAX_TRIALS", "CIFAKE_TUNE_STUDY__SEARCH__MAX_TRIALS"),
        ("CIFAKE_TUNE_SEARCH__MAX_TRIALS", "CIFAKE_TUNE_STUDY__SEARCH__MAX_TRIALS"),
        ("CIFAKE_TUNE_bucket", "CIFAKE_TUNE_BUCKET"),
        ("CIFAKE_TUNE_HTTP_PORT", "CIFAKE_TUNE_HTTP"),
    ],
)
def test_an_unknown_variable_is_an_error_that_names_the_nearest(variable: str, nearest: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_variables({variable: "x"})
    text = f"the environment variable {variable} is unknown; did you mean {nearest}? Rename or unset it."
    assert str(caught.value) == text


@pytest.mark.parametrize("arguments", [("run",), ("status",), ("chief", "--check"), ("schema",)])
def test_every_command_refuses_it(arguments: tuple[str, ...]) -> None:
    done = run_in_process(*arguments, environment={"CIFAKE_TUNE_BUKET": "/data"})
    assert done.code == 2
    assert done.err.startswith("error: the environment variable CIFAKE_TUNE_BUKET is unknown")


def test_a_help_text_is_printed_nevertheless() -> None:
    assert run_in_process("run", "--help", environment={"CIFAKE_TUNE_BUKET": "/data"}).code == 0


def test_the_sidecar_of_a_pod_is_asked_to_end_nevertheless(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("tuner.cli.app.quit_sidecar", asked.append)
    environment = {"CIFAKE_TUNE_BUKET": "/data", names.ENV_QUIT_URL: "http://127.0.0.1:9/"}
    assert run_in_process("chief", environment=environment).code == 2
    assert asked == ["http://127.0.0.1:9/"]


def test_the_sidecar_is_not_asked_by_other_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("tuner.cli.app.quit_sidecar", asked.append)
    assert run_in_process("schema", environment={names.ENV_QUIT_URL: "http://127.0.0.1:9/"}).code == 0
    assert asked == []


OF_SERVICES = {
    "CIFAKE_TUNE_SERVICE_HOST": "10.0.0.1",
    "CIFAKE_TUNE_CHIEF_SERVICE_HOST": "10.0.0.1",
    "CIFAKE_TUNE_CHIEF_SERVICE_PORT": "8000",
    "CIFAKE_TUNE_CHIEF_SERVICE_PORT_GRPC": "8000",
    "CIFAKE_TUNE_CHIEF_PORT": "tcp://10.0.0.1:8000",
    "CIFAKE_TUNE_CHIEF_PORT_8000_TCP": "tcp://10.0.0.1:8000",
    "CIFAKE_TUNE_CHIEF_PORT_8000_TCP_PROTO": "tcp",
    "CIFAKE_TUNE_CHIEF_PORT_8000_TCP_PORT": "8000",
    "CIFAKE_TUNE_CHIEF_PORT_8000_TCP_ADDR": "10.0.0.1",
}


@pytest.mark.parametrize("variable", OF_SERVICES)
def test_kubernetes_variables_of_a_service_are_ignored(variable: str) -> None:
    check_variables({variable: OF_SERVICES[variable]})


def all_variables() -> list[str]:
    return [value for name, value in vars(names).items() if name.startswith("ENV_") and isinstance(value, str)]


@pytest.mark.parametrize("variable", [*all_variables(), *names.ENV_OF_TESTS, "CIFAKE_TUNE", "PATH"])
def test_known_and_foreign_variables_are_accepted(variable: str) -> None:
    check_variables({variable: "x"})
