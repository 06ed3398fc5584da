"""The chart agrees with the program; what it renders is checked by charts/check.sh, and what that does by tests/e2e."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

import tuner
from k8s.doctor.chart import HelmValues, planned_release
from tests.support.modules import module_at
from tuner import names
from tuner.config.loading import all_keys, json_schema, parse
from tuner.study import compatibility

CHARTS = Path(__file__).parents[1] / "charts"
EXAMPLES = sorted((CHARTS / "ci").glob("*-values.yaml"))
CHART_PAGES = ("kubernetes.md", "kubernetes-buckets.md", "gpus.md", "tutorial-cluster.md", "air-gapped.md")
"""Pages whose YAML is values of the chart."""
PAGES = [(CHARTS.parent / "docs" / name).read_text(encoding="utf-8") for name in CHART_PAGES]
TEMPLATES = "\n".join(file.read_text(encoding="utf-8") for file in sorted((CHARTS / "templates").rglob("*.*")))


def test_the_values_schema_has_the_settings_of_the_program() -> None:
    generate = module_at(CHARTS / "schema" / "generate.py")
    assert (CHARTS / "values.schema.json").read_text(encoding="utf-8") == generate.text(), "run `make docs`"
    assert (CHARTS / "known-values.json").read_text(encoding="utf-8") == generate.known_text(), "run `make docs`"
    schema = generate.values_schema()
    settings = schema["$defs"]["Study"]["properties"]
    assert set(settings) == set(json_schema()["properties"])


def test_the_schema_and_the_values_have_the_same_keys() -> None:
    schema = json.loads((CHARTS / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((CHARTS / "values.yaml").read_text(encoding="utf-8"))

    def compare(properties: dict[str, dict[str, object]], section: dict[str, object], path: str) -> None:
        assert set(properties) == set(section), path
        for key, inner in section.items():
            nested = properties[key].get("properties")
            if nested and isinstance(inner, dict):
                compare(nested, inner, f"{path}.{key}")  # type: ignore[arg-type]

    compare(schema["properties"], values, "values")


@pytest.mark.skipif(not shutil.which("helm"), reason="needs helm")
@pytest.mark.parametrize(
    ("setting", "sentences"),
    [
        ("worker.replicas=3", ["worker is not a value of this chart; did you mean workers?"]),
        ("bucket.uri=gs://runs", ["bucket.uri is not a value of this chart; did you mean bucket.url?"]),
        (
            "study.search.max_trial=3",
            ["study.search.max_trial is not a value", "did you mean study.search.max_trials?"],
        ),
        (
            "workers.resources.limit.cpu=1",
            ["did you mean workers.resources.limits?"],
        ),
        ("study.search.confirm.seed=3", ["did you mean study.search.confirm.seeds?"]),
        (
            "study.search.early_stopping.policy=x",
            ["/early_stopping/policy': value must be one of 'stopping', 'asha', 'promotion', 'none'"],
        ),
        ("workers.replicas=two", ["at '/workers/replicas': got string, want integer"]),
        ("workers.replicas=-1", ["at '/workers/replicas': minimum: got -1, want 1"]),
        ("study.space.import=3", ["at '/study/space/import': got number, want"]),
    ],
)
def test_helm_says_where_a_value_is_wrong_and_what_may_be_there(setting: str, sentences: list[str]) -> None:
    """Most are helm's own words, which helm-unittest does not have. Those of the chart are in charts/tests."""
    command = ["helm", "template", "night", str(CHARTS), "--set", setting]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode
    assert [words for words in sentences if words not in done.stderr] == []
    assert "anyOf" not in done.stderr
    assert "pattern" not in done.stderr


def rendered(chart: Path, *arguments: str) -> list[dict[str, Any]]:
    command = ["helm", "template", "night", str(chart), "--set", "tls.existingSecret=mine", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [found for found in yaml.safe_load_all(done.stdout) if found]


def first_release() -> str:
    """Return values.yaml of 0.1.0, whose commit the changelog names."""
    changelog = (CHARTS.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(r"^## 0\.1\.0\n.*?Commit: (\w+)", changelog, re.MULTILINE | re.DOTALL)
    assert found
    command = ["git", "-C", str(CHARTS.parent), "show", f"{found[1]}:charts/values.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        pytest.skip("needs the history of the repository")
    return done.stdout


@pytest.mark.skipif(not shutil.which("helm"), reason="needs helm")
@pytest.mark.parametrize(
    ("values", "arguments"),
    [
        pytest.param(str, [], id="no values"),
        # 0.1.0 had no limit. Maps whose keys are the user's own are not merged.
        pytest.param(first_release, ["--set", "bucket.emulator.resources.limits.memory=8Gi"], id="0.1.0"),
    ],
)
def test_the_values_of_an_older_release_are_completed_with_the_defaults(
    tmp_path: Path, values: Callable[[], str], arguments: list[str]
) -> None:
    """`helm upgrade --reuse-values` replaces the chart's values.yaml by the values of the previous release."""
    older = tmp_path / "charts"
    shutil.copytree(CHARTS, older)
    (older / "values.yaml").write_text(values(), encoding="utf-8")
    assert rendered(older, *arguments) == rendered(CHARTS)


@pytest.mark.skipif(not shutil.which("helm"), reason="needs helm")
def test_a_parent_chart_may_have_globals_of_its_own_and_a_condition(tmp_path: Path) -> None:
    shutil.copytree(CHARTS, tmp_path / "charts" / "cifake-tune")
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: lab\nversion: 1.0.0\n", encoding="utf-8")
    values = ["global.imageRegistry=mine", "global.other=1", "cifake-tune.enabled=true", "cifake-tune.chief.port=9000"]
    objects = rendered(tmp_path, "--set", ",".join(values))
    ports = [item["spec"]["ports"][0]["port"] for item in objects if item["kind"] == "Service"]
    assert sorted(ports) == [4443, 9000]
    assert set(re.findall(r'"image": "(.*?)"', json.dumps(objects))) == {f"mine/cifake-tune:{tuner.__version__}"}


@pytest.mark.parametrize(
    "file", [file for file in sorted((CHARTS / "templates").rglob("*")) if file.suffix in (".yaml", ".txt")]
)
def test_every_template_completes_the_values_first(file: Path) -> None:
    assert file.read_text(encoding="utf-8").startswith('{{- include "cifake-tune.defaults" . }}\n')


@pytest.mark.skipif(not shutil.which("helm"), reason="needs helm")
@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_the_objects_are_valid_in_the_schemas_of_kubernetes(file: Path) -> None:
    oldest = "1.31" if "resourceClaims" in file.read_text(encoding="utf-8") else "1.29"
    for item in rendered(CHARTS, "--values", str(file), "--set", "tls.enabled=true"):
        if not item["apiVersion"].startswith("monitoring.coreos.com/"):
            kubernetes_validate.validate(item, oldest, strict=True)
            kubernetes_validate.validate(item, "1.37", strict=True)


def test_the_chart_refuses_the_same_changes_as_the_program() -> None:
    guard = (CHARTS / "templates" / "upgrade" / "guard.yaml").read_text(encoding="utf-8")
    lists = {
        "growing": compatibility.GROWING,
        "operational": compatibility.OPERATIONAL,
        "packing": compatibility.PACKING,
    }
    for name, keys in lists.items():
        match = re.search(rf"\${name} := list (.*) }}}}", guard)
        assert match
        assert tuple(re.findall('"(.*?)"', match[1])) == keys
    assert f'"{compatibility.VALUES}"' in TEMPLATES


def test_every_value_has_a_sentence() -> None:
    table = (CHARTS / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w\S*) \|.*\| ([^|]*) \|$", table, re.MULTILINE)
    assert len(rows) > 50
    assert [key for key, sentence in rows if not sentence.strip() and key != "Key"] == []


def test_the_versions_of_chart_and_program_are_the_same() -> None:
    chart = yaml.safe_load((CHARTS / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == chart["version"] == tuner.__version__


def test_the_chart_sets_no_variable_that_the_program_does_not_know() -> None:
    known = {value for name, value in vars(names).items() if name.startswith("ENV_")}
    variables = set(re.findall(r"\b(?:CIFAKE_TUNE|KERASTUNER)_\w+", TEMPLATES))
    settings = {f"{names.ENV_SETTING}{key.upper().replace('.', '__')}" for key in all_keys()}
    assert variables
    assert variables <= known | settings


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_the_studies_of_the_example_values_are_valid(file: Path) -> None:
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    parse(values.get("study", {}), file.name)


BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", "\n".join(PAGES), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", [block for block in BLOCKS if "\nkind:" not in block])
def test_the_values_in_the_documents_exist(block: str) -> None:
    values = yaml.safe_load(block)
    known = yaml.safe_load((CHARTS / "values.yaml").read_text(encoding="utf-8"))
    for key, section in values.items():
        assert key in known
        if isinstance(known[key], dict) and known[key]:
            assert set(section) <= set(known[key]), key
    parse(values.get("study", {}), "docs/kubernetes.md")


@pytest.mark.skipif(not shutil.which("helm"), reason="needs helm")
def test_the_chart_renders_the_search_that_plan_reads(tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text("study: {search: {max_trials: 7}}\nworkers: {replicas: 3}\n", encoding="utf-8")
    release = planned_release(HelmValues(CHARTS, [values], ["study.search.max_hours=8"]))
    study = parse(yaml.safe_load(release.study_yaml), "the chart")
    assert (study.search.max_trials, study.search.max_hours, release.workers) == (7, 8, 3)


@pytest.mark.skipif(not shutil.which("helm"), reason="needs helm")
def test_the_settings_of_a_search_that_learns_reach_the_chief() -> None:
    """Helm turns 5e6 into a floating-point number."""
    search = {
        "algorithm": "tpe",
        "initial_points": 7,
        "first": [{"learning_rate": 0.001, "units": 64}, "default"],
        "learn_from": ["before", "gs://bucket/prefix/other"],
        "constraints": {"parameters": 5e6},
    }
    objects = rendered(CHARTS, "--set-json", f"study.search={json.dumps(search)}")
    texts = [text for item in objects for text in (item.get("data") or {}).values() if "learn_from" in text]
    assert texts
    study = parse(yaml.safe_load(texts[0]), "the chart")
    expected = parse({"search": search}, "here")
    assert study.search == expected.search
    assert study.search.constraints.parameters == 5_000_000
