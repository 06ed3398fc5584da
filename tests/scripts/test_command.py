"""The options of `run` for a script, and what the chief's check makes of a study of one."""

import logging
from pathlib import Path

import pytest

from tuner.bucket.local import LocalBucket
from tuner.cli.early_checks import check_continues
from tuner.cli.options import loaded_settings
from tuner.cli.script_options import script_settings, study_name_of
from tuner.config.loading import Loaded, layered, load_given, parse
from tuner.config.space_settings import Space
from tuner.errors import ConfigError, ScriptError, SpaceError, UsageError
from tuner.names import OWN_DATA
from tuner.scripts.session import script_file
from tuner.spaces import load_own_space
from tuner.study.records import Opened
from tuner.study.state import StudyState


@pytest.fixture
def script(tmp_path: Path) -> str:
    (path := tmp_path / "My tune_2.py").write_text("")
    path = path.rename(tmp_path / "my_tune.py")
    return str(path)


def test_the_options_are_settings(script: str) -> None:
    study = load_given(None, script_settings(script, 2, ["--rate", "0.1"])).study
    assert (study.space.script, study.space.code) == ("my_tune.py", str(Path(script).parent))
    assert (study.space.arguments, study.space.tuner, study.data.own) == (["--rate", "0.1"], 2, True)


def test_the_folder_is_absolute_so_that_the_study_can_be_evaluated_elsewhere(
    script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(script).parent)
    study = load_given(None, script_settings("my_tune.py", None, None)).study
    monkeypatch.chdir("/")
    assert script_file(study.space) == Path(script).resolve()
    with pytest.raises(ScriptError, match="Run this command in the folder where the study was started"):
        script_file(Space(script="my_tune.py", code="."))


@pytest.mark.parametrize(
    ("file", "name"), [("a/My tune_2.py", "my-tune-2"), ("__.py", "script"), (f"{'x' * 80}.py", "x" * 63)]
)
def test_a_study_is_named_after_its_script(file: str, name: str) -> None:
    assert study_name_of(file) == name


def test_a_name_that_is_set_counts_instead(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = script_settings(script, None, None)
    assert loaded_settings(None, options, str(tmp_path), "my-tune").study.name == "my-tune"
    assert loaded_settings(None, [*options, "name=set"], str(tmp_path), "my-tune").study.name == "set"
    monkeypatch.setenv("CIFAKE_TUNE_STUDY__NAME", "of-environment")
    assert loaded_settings(None, options, str(tmp_path), "my-tune").study.name == "of-environment"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((None, None, ["x.zip"]), "unexpected argument 'x.zip'. Arguments belong to a script"),
        ((None, 2, None), "--tuner has no effect without --script"),
        (("nowhere.py", None, None), "--script must be the path of a Python file"),
    ],
)
def test_options_without_a_script_are_refused(options: tuple[str | None, int | None, list[str]], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        script_settings(*options)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"space": {"script": "t.py", "import": "a:b"}}, "space.import and space.script are mutually exclusive"),
        ({"space": {"tuner": 2}}, "tuner has no effect without script"),
        ({"space": {"arguments": ["x"]}}, "arguments has no effect without script"),
        ({"space": {"script": "t.py"}, "data": {"own": False}}, "data.own must be true with space.script"),
        ({"space": {"script": "t.py"}, "data": {"source": "x.zip"}}, "data.source would have no effect"),
    ],
)
def test_settings_that_contradict_a_script_are_refused(values: dict[str, dict[str, object]], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        parse(values, "study.yaml")


def test_given_values_have_no_defaults_and_override_what_is_below() -> None:
    given = load_given(None, ["search.max_trials=4"]).given
    assert given == {"search": {"max_trials": 4}}
    assert layered({"seed": 3, "search": {"max_trials": 9, "objective": "loss"}}, given) == {
        "seed": 3,
        "search": {"max_trials": 4, "objective": "loss"},
    }


def test_only_the_script_itself_has_its_models() -> None:
    space = parse({"space": {"script": "t.py"}}, "study.yaml").space
    with pytest.raises(SpaceError, match=r"built by the script t\.py"):
        load_own_space(space)


def test_the_check_before_an_upgrade_knows_the_settings_of_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    given = {"name": "tune", "space": {"script": "tune.py"}}
    recorded = parse(layered({"search": {"max_trials": 50, "objective": "val_mae", "direction": "min"}}, given), "here")
    state = StudyState()
    state.apply(Opened(at=1.0, term=1, writer="a", study=recorded, data=OWN_DATA, direction="min"))
    monkeypatch.setattr("tuner.cli.early_checks.JournalReader.poll", lambda self: setattr(self, "state", state))
    caplog.set_level(logging.INFO)

    def check(more: dict[str, object]) -> None:
        values = layered(given, more)
        check_continues(LocalBucket(tmp_path), Loaded(parse(values, "here"), values), None)

    check({})
    assert "study tune continues with these settings" in caplog.text
    with pytest.raises(ConfigError, match=r"search\.objective was"):
        check({"search": {"objective": "val_loss"}})
