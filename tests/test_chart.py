"""The chart agrees with the program; what it renders is checked by charts/check.sh, and what that does by tests/e2e."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import tuner
from tests.support.modules import module_at
from tuner import names
from tuner.config.loading import json_schema, parse
from tuner.study import compatibility

CHARTS = Path(__file__).parents[1] / "charts"
PAGE = (CHARTS.parent / "docs" / "kubernetes.md").read_text(encoding="utf-8")
TEMPLATES = "\n".join(file.read_text(encoding="utf-8") for file in sorted((CHARTS / "templates").rglob("*.*")))


def test_the_values_schema_has_the_settings_of_the_program() -> None:
    generate = module_at(CHARTS / "schema" / "generate.py")
    assert (CHARTS / "values.schema.json").read_text(encoding="utf-8") == generate.text(), "run `make docs`"
    schema = generate.values_schema()
    settings = schema["$defs"]["Study"]["properties"]
    assert set(settings) == set(json_schema()["properties"])


def test_the_schema_and_the_values_have_the_same_keys() -> None:
    schema = json.loads((CHARTS / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((CHARTS / "values.yaml").read_text(encoding="utf-8"))

    def compare(properties: dict[str, dict[str, object]], section: dict[str, object], path: str) -> None:
        assert set(properties) - {"global"} == set(section), path
        for key, inner in section.items():
            nested = properties[key].get("properties")
            if nested and isinstance(inner, dict):
                compare(nested, inner, f"{path}.{key}")  # type: ignore[arg-type]

    compare(schema["properties"], values, "values")


@pytest.mark.skipif(not shutil.which("helm"), reason="needs helm")
@pytest.mark.parametrize(
    ("setting", "sentences"),
    [
        ("worker.replicas=3", ["additional properties 'worker' not allowed", "must be one of", "'workers'"]),
        ("bucket.uri=gs://runs", ["at '/bucket': additional properties 'uri' not allowed", "one of 'url', 'emulator'"]),
        ("study.search.max_trial=3", ["at '/study/search': additional properties 'max_trial' not", "'max_trials'"]),
        ("study.search.early_stopping.policy=x", ["/early_stopping/policy': value must be one of 'asha', 'none'"]),
        ("chief=null", ["missing property 'chief'"]),
        ("networkPolicy.scrapeFrom=null", ["at '/networkPolicy': missing property 'scrapeFrom'"]),
        ("workers.replicas=two", ["at '/workers/replicas': got string, want integer"]),
        ("workers.replicas=-1", ["at '/workers/replicas': minimum: got -1, want 1"]),
        ("study.space.import=3", ["at '/study/space/import': got number, want"]),
    ],
)
def test_helm_says_where_a_value_is_wrong_and_what_may_be_there(setting: str, sentences: list[str]) -> None:
    """In helm's own words, which helm-unittest does not have; the chart's own are in charts/tests."""
    command = ["helm", "template", "night", str(CHARTS), "--set", setting]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode
    assert [words for words in sentences if words not in done.stderr] == []
    assert "anyOf" not in done.stderr
    assert "pattern" not in done.stderr


def test_the_chart_refuses_the_same_changes_as_the_program() -> None:
    guard = (CHARTS / "templates" / "upgrade" / "guard.yaml").read_text(encoding="utf-8")
    for name, keys in ("growing", compatibility.GROWING), ("operational", compatibility.OPERATIONAL):
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
    assert variables
    assert variables <= known


@pytest.mark.parametrize("file", sorted((CHARTS / "ci").glob("*-values.yaml")), ids=lambda file: file.name)
def test_the_studies_of_the_example_values_are_valid(file: Path) -> None:
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    parse(values.get("study", {}), file.name)


BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", [block for block in BLOCKS if "\nkind:" not in block])
def test_the_values_in_the_documents_exist(block: str) -> None:
    values = yaml.safe_load(block)
    known = yaml.safe_load((CHARTS / "values.yaml").read_text(encoding="utf-8"))
    for key, section in values.items():
        assert key in known
        if isinstance(known[key], dict) and known[key]:
            assert set(section) <= set(known[key]), key
    parse(values.get("study", {}), "docs/kubernetes.md")
