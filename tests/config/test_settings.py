"""study.yaml, environment and --set: what they accept, which one wins, and what their errors say."""

import json
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, ValidationError

from tuner.config import settings as config
from tuner.config.loading import all_keys, dump, json_schema, load, parse
from tuner.config.recorded import RecordedStudy
from tuner.config.settings import Algorithm, Policy, Study
from tuner.config.space_settings import BUILT_IN_SPACES
from tuner.errors import ConfigError, ExitCode
from tuner.spaces.loading import BUILT_IN
from tuner.study import compatibility

Write = Callable[[str], Path]


@pytest.fixture
def study_yaml(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        file = tmp_path / "study.yaml"
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        return file

    return write


def error_of(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        function(*arguments, **keywords)
    assert caught.value.exit_code is ExitCode.USAGE
    return str(caught.value)


# ---- which one wins -----------------------------------------------------------------------------
def test_nothing_given_makes_the_default_study() -> None:
    assert load() == Study()


def test_an_empty_file_makes_the_default_study(study_yaml: Write) -> None:
    assert load(study_yaml("# nothing yet\n")) == Study()


def test_the_file_wins_over_the_default_the_environment_over_the_file_and_set_over_both(study_yaml: Write) -> None:
    file = study_yaml("search: {max_trials: 11, algorithm: grid, objective: val_loss}")
    environment = {"CIFAKE_TUNE_STUDY__SEARCH__MAX_TRIALS": "12", "CIFAKE_TUNE_STUDY__SEARCH__ALGORITHM": "bayesian"}

    study = load(file, ["search.max_trials=13"], environment)

    assert study.search.max_trials == 13
    assert study.search.algorithm is Algorithm.BAYESIAN
    assert study.search.objective == "val_loss"
    assert study.search.max_consecutive_failures == Study().search.max_consecutive_failures


@pytest.mark.parametrize(
    "budget", ["search.max_hours=1.5", "search.max_worker_hours=8", "search.target=0.9", "search.patience_trials=20"]
)
def test_there_are_ten_trials_unless_another_budget_is_set(budget: str) -> None:
    assert load().search.max_trials == 10
    assert load(settings=["training.max_minutes=5", "search.grace_minutes=1"]).search.max_trials == 10
    assert load(settings=[budget]).search.max_trials is None
    assert load(settings=[budget, "search.max_trials=4"]).search.max_trials == 4
    assert load(recorded=load(settings=[budget])) == load(settings=[budget])


def test_the_last_set_wins() -> None:
    assert load(settings=["seed=2", "seed=3"]).seed == 3


def test_a_section_can_be_set_at_once() -> None:
    assert load(settings=["search={max_trials: 4, algorithm: grid}"]).search.max_trials == 4


def test_other_variables_are_no_settings() -> None:
    environment = {"CIFAKE_TUNE_STUDY": "study.yaml", "CIFAKE_TUNE_BUCKET": "here", "PATH": "/bin"}
    assert load(environment=environment) == Study()


def test_the_environment_can_name_a_users_own_space() -> None:
    assert load(environment={"CIFAKE_TUNE_STUDY__SPACE__IMPORT": "my:Space"}).space.import_ == "my:Space"


# ---- errors -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("search: {max_trial: 3}", "unknown key search.max_trial; did you mean search.max_trials?"),
        ("serach: {}", "unknown key serach; did you mean search?"),
        ("max_trials: 3", "unknown key max_trials; did you mean search.max_trials?"),
        ("space: {import_: 'a:B'}", "unknown key space.import_; did you mean space.import?"),
        (
            "training: {qqq: 1}",
            "unknown key training.qqq; valid keys: epochs, patience, max_minutes, devices, compilation_cache_mb.",
        ),
    ],
)
def test_an_unknown_key_is_an_error_that_names_the_nearest(study_yaml: Write, text: str, sentence: str) -> None:
    file = study_yaml(text)
    assert error_of(load, file) == f"{file}: {sentence}"


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("search: {max_trials: '3'}", "search.max_trials", '"3"'),
        ("search: {max_trials: 3.5}", "search.max_trials", "3.5"),
        ("search: {max_trials: true}", "search.max_trials", "true"),
        ("search: {max_trials: 0}", "search.max_trials", "0"),
        ("search: {algorithm: randm}", "search.algorithm", '"randm"'),
        ("search: {objective: 3}", "search.objective", "3"),
        ("search: 3", "search", "3"),
        ("search: {initial_points: 0}", "search.initial_points", "0"),
        ("search: {first: default}", "search.first", '"default"'),
        ("search: {first: [defaults]}", "search.first", '["defaults"]'),
        ("search: {first: [{width: [1, 2]}]}", "search.first", '[{"width": [1, 2]}]'),
        ("search: {learn_from: [Before]}", "search.learn_from", '"Before"'),
        ("search: {learn_from: ['gs://bucket/']}", "search.learn_from", '"gs://bucket/"'),
        ("search: {constraints: {parameters: 0}}", "search.constraints.parameters", "0"),
        ("search: {constraints: {parameters: 1.5}}", "search.constraints.parameters", "1.5"),
        ("search:", "search", "null"),
        ("seed: 0", "seed", "0"),
        ("seed: 2147483648", "seed", "2147483648"),
        ("name: Has Capitals", "name", '"Has Capitals"'),
        ("data: {validation: 1.0}", "data.validation", "1.0"),
        ("data: {validation: 0}", "data.validation", "0"),
        ("data: {batch_size: 0}", "data.batch_size", "0"),
        ("space: {import: nocolon}", "space.import", '"nocolon"'),
        ("space: {values: 3}", "space.values", "3"),
        ("space: {values: {width: }}", "space.values", "null"),
        ("space: {values: {width: []}}", "space.values", "[]"),
        ("space: {values: {width: [1, a]}}", "space.values", '[1, "a"]'),
        ("training: {epochs: [1]}", "training.epochs", "[1]"),
        ("training: {patience: 0}", "training.patience", "0"),
        ("training: {devices: all}", "training.devices", 'must be auto or a number of devices from 1, got "all"'),
        ("training: {devices: 0}", "training.devices", "0"),
        ("retries: {failure: -1}", "retries.failure", "-1"),
        ("retries: {preemption: 9}", "retries.preemption", "9"),
        ("leases: {duration_s: 0}", "leases.duration_s", "0"),
        ("leases: {duration_s: .inf}", "leases.duration_s", "Infinity"),
    ],
)
def test_a_wrong_value_is_an_error_with_its_key(study_yaml: Write, text: str, key: str, value: str) -> None:
    file = study_yaml(text)
    message = error_of(load, file)
    assert message.startswith(f"{file}: {key}: ")
    assert value in message
    assert message.endswith(".")


def test_all_errors_are_said_at_once(study_yaml: Write) -> None:
    message = error_of(load, study_yaml("seed: 0\ntraining: {epochs: 0}\nnaem: x"))
    assert [line.split(": ")[1] for line in message.splitlines()] == [
        "seed", "training.epochs", "unknown key naem; did you mean name?",
    ]  # fmt: skip


def test_an_error_names_the_variable_or_the_set_that_brought_the_value(study_yaml: Write) -> None:
    file = study_yaml("name: mine")
    environment = {"CIFAKE_TUNE_STUDY__SEARCH__MAX_TRIALS": "many"}
    assert error_of(load, file, (), environment).startswith("CIFAKE_TUNE_STUDY__SEARCH__MAX_TRIALS: search.max")
    assert error_of(load, file, ["seed=x"]).startswith("--set seed=x: seed: ")
    assert error_of(load, file, ["search={max_trials: x}"]).startswith("--set search={max_trials: x}: search.max")


@pytest.mark.parametrize("setting", ["seed", "=3", ""])
def test_a_set_without_key_or_value_says_how_to_write_it(setting: str) -> None:
    assert f"--set must be KEY=VALUE, such as search.max_trials=20, got {setting!r}" in error_of(
        load, settings=[setting]
    )


def test_a_set_below_a_value_is_refused(study_yaml: Write) -> None:
    assert "seed is not a section, so it has no keys" in error_of(load, study_yaml("seed: 3"), ["seed.x=1"])


def test_a_name_and_an_import_exclude_each_other() -> None:
    assert "Remove one of them" in error_of(load, settings=["space.name=other", "space.import=my:Space"])


OWN = ("data.own=true", "space.import=my:Space")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("data.source=photos", "data.source would have no effect. Remove one of them (`--data` sets data.source)."),
        ("data.validation=0.2", "so data.validation would have no effect."),
    ],
)
def test_own_data_refuses_settings_of_images(more: str, says: str) -> None:
    message = error_of(load, settings=[*OWN, more])
    assert "data: data.own says that the space brings its own data" in message
    assert says in message


def test_own_data_may_have_a_batch_size_and_a_seed_and_is_read_back() -> None:
    study = load(settings=[*OWN, "data.batch_size=4", "data.validation_seed=3"])
    assert study.data.own
    assert parse(dump(study), "study.yaml") == study


def test_own_data_requires_a_space_of_the_users_own() -> None:
    assert "data.own requires space.import" in error_of(load, settings=["data.own=true"])


@pytest.mark.parametrize("by_alias", [True, False])
@pytest.mark.parametrize("settings", [[], ["space.name=seed"], ["space.import=my:Space"]])
def test_a_study_that_was_written_down_is_read_as_the_same(settings: list[str], by_alias: bool) -> None:
    study = load(settings=settings)
    assert config.Study.model_validate_json(study.model_dump_json(by_alias=by_alias)) == study


# ---- early stopping -----------------------------------------------------------------------------
@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_trials_are_stopped_early_unless_the_algorithm_has_rungs_of_its_own(algorithm: Algorithm) -> None:
    stopping = load(settings=[f"search.algorithm={algorithm}"]).search.early_stopping
    assert stopping.policy is (Policy.NONE if algorithm is Algorithm.HYPERBAND else Policy.STOPPING)
    assert Study().search.early_stopping.policy is Policy.STOPPING


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_early_stopping_can_be_turned_off(algorithm: Algorithm) -> None:
    settings = [f"search.algorithm={algorithm}", "search.early_stopping.policy=none"]
    assert load(settings=settings).search.early_stopping.policy is Policy.NONE


def test_hyperband_refuses_a_second_early_stopping(study_yaml: Write) -> None:
    file = study_yaml("search: {algorithm: hyperband, early_stopping: {policy: asha}}")
    message = error_of(load, file)
    assert message.startswith(
        f"{file}: search: early_stopping.policy stopping cannot be combined with algorithm hyperband"
    )
    assert "set it to none" in message


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("search.early_stopping.polcy=asha", "did you mean search.early_stopping.policy?"),
        ("search.early_stopping.policy=median", "must be 'stopping', 'promotion' or 'none', got"),
        ("search.early_stopping.reduction_factor=1", "greater than or equal to 2"),
        ("search.early_stopping.min_epochs=0", "greater than or equal to 1"),
        ("search.early_stopping=asha", "must be a section"),
        ("reduction_factor=3", "did you mean search.early_stopping.reduction_factor?"),
    ],
)
def test_what_early_stopping_does_not_know_is_an_error_that_helps(setting: str, says: str) -> None:
    assert says in error_of(load, settings=[setting])


# ---- YAML ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("text", ["seed: 1\nseed: 2", "search: {max_trials: 3, max_trials: 4}"])
def test_a_key_given_twice_is_an_error(study_yaml: Write, text: str) -> None:
    assert "duplicate key" in error_of(load, study_yaml(text))


@pytest.mark.parametrize("text", ["1e-3", "1.0e-3", "1E-3", ".1e-2", "0.001"])
def test_a_number_may_be_written_as_in_python_and_json(text: str) -> None:
    assert load(settings=[f"data.validation={text}"]).data.validation == 0.001


def test_a_name_may_look_like_a_date() -> None:
    assert load(settings=["name=2026-01-31"]).name == "2026-01-31"


@pytest.mark.parametrize("text", ["a: [", "- a\n- b", "just words", "? [a]\n: b", "a: &a {b: *a}", "name: !!set {x}"])
def test_a_file_that_is_no_mapping_of_settings_is_an_error_with_its_name(study_yaml: Write, text: str) -> None:
    file = study_yaml(text)
    assert error_of(load, file).startswith(f"{file}: ")


def test_a_file_cannot_make_python_objects(study_yaml: Write) -> None:
    assert "not valid YAML" in error_of(load, study_yaml("name: !!python/object/apply:os.getcwd []"))


def test_a_missing_or_unreadable_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    assert error_of(load, tmp_path / "none.yaml") == f"{tmp_path / 'none.yaml'}: no such file. Check the path."
    assert "cannot be read" in error_of(load, tmp_path)


# ---- as data ------------------------------------------------------------------------------------
def test_a_study_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Study().search.max_trials = 3  # type: ignore[misc]


def test_what_is_dumped_is_parsed_again(tmp_path: Path) -> None:
    study = load(settings=["space.import=my:Space", "search.algorithm=hyperband", "data.validation=0.25"])
    dumped = dump(study)
    assert dumped["space"]["import"] == "my:Space"
    assert parse(json.loads(json.dumps(dumped)), "here") == study
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(dumped))
    assert load(tmp_path / "study.yaml") == study


def test_the_keys_listed_are_those_of_the_dump() -> None:
    assert all_keys() == list(compatibility._flat(dump(Study())))


def test_the_json_schema_describes_every_setting_and_allows_no_other() -> None:
    schema = json_schema()
    sections = [schema, *(part for part in schema["$defs"].values() if part["type"] == "object")]
    assert all(section["additionalProperties"] is False for section in sections)
    described = dict(descriptions(schema, schema))
    assert list(described) == all_keys()
    assert [key for key, description in described.items() if not description] == []


@pytest.mark.parametrize(
    ("space", "valid"),
    [
        ({}, True), ({"name": "deep"}, True), ({"import": "a:B"}, True), ({"name": None, "import": "a:B"}, True),
        ({"name": "sead"}, False), ({"name": "seed", "import": "a:B"}, False), ({"name": ""}, False),
    ],
)  # fmt: skip
def test_the_json_schema_knows_the_built_in_spaces_and_takes_either_a_name_or_an_import(
    space: dict[str, str | None], valid: bool
) -> None:
    assert set(BUILT_IN_SPACES) == set(BUILT_IN)
    assert Draft202012Validator(json_schema()).is_valid({"space": space}) is valid


def descriptions(part: dict[str, Any], schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, field in part["properties"].items():
        section = schema["$defs"].get(field.get("$ref", "").rsplit("/", 1)[-1], {})
        if "properties" in section:
            yield from descriptions(section, schema, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field.get("description", "")


def test_a_number_that_an_earlier_version_recorded_is_moved_into_its_range() -> None:
    recorded = {
        "search": {"max_trials": 10**12, "early_stopping": {"min_epochs": 10**7}},
        "training": {"patience": 10**9, "epochs": 5},
        "leases": {"duration_s": 1e-320},
        "unknown": 1,
    }
    study = TypeAdapter(RecordedStudy).validate_json(json.dumps(recorded))
    assert (study.search.max_trials, study.search.early_stopping.min_epochs) == (1_000_000, 1_000_000)
    assert (study.training.patience, study.training.epochs) == (1_000_000, 5)
    assert study.leases.duration_s == 0.1


def test_a_study_with_all_settings_of_its_data_is_read_again() -> None:
    """A journal has JSON, whose lists become tuples again."""
    original = load(settings=["data.resize=[4, 6]", "data.convert=true", "data.labels=a.csv", "data.columns.label=2a"])
    assert original.data.resize == (4, 6)
    assert TypeAdapter(RecordedStudy).validate_json(original.model_dump_json(by_alias=True)) == original


@pytest.mark.parametrize("value", ["[1.5, 2]", "[0, 2]", "[2, 5000]", '["1", 2]', "[1]", "5", "[1, 2, 3]", "[true, 1]"])
def test_a_size_that_is_not_two_numbers_of_pixels_is_refused_in_one_sentence(value: str) -> None:
    message = error_of(load, None, [f"data.resize={value}"])
    assert "data.resize: must be [HEIGHT, WIDTH], two whole numbers of pixels from 1 to 4096" in message
    assert message.count("\n") == 0
