"""Files that are no settings: in another encoding, too large, nested, or made to exhaust the memory."""

import time
from pathlib import Path

import pytest

from tuner.config.loading import load
from tuner.errors import ConfigError

BOMB = "\n".join(
    ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    + [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 9)]
)
CHAIN = "\n".join(["a0: &a0 [1]"] + [f"a{level}: &a{level} [*a{level - 1}]" for level in range(1, 40)])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("seed: 3".encode("utf-16"), "is encoded in UTF-16. Save it in UTF-8."),
        ("seed: 3".encode("utf-16-le"), "is encoded in UTF-16. Save it in UTF-8."),
        (b"\x89PNG\r\n\x1a\n", "is not a text file in UTF-8 (byte 0x89 at position 0)"),
        (b"PK\x03\x04", "the character U+0003 at position 2 is not allowed"),
        (b"#" * 70_000, "is larger than 64 KiB, so it is not a file of settings."),
        (BOMB.encode(), "its aliases stand for more than 2,000 values at line 4"),
        (CHAIN.encode(), "its aliases are nested more than 32 levels deep"),
        (b"a: &a {b: *a}", "an alias stands for a value that contains the alias"),
        (b"a: &a [*a]", "an alias stands for a value that contains the alias"),
        (b"a: " + b"[" * 60_000, "values are nested more than 32 levels deep"),
        (b"a: " + b"{a: " * 10_000, "values are nested more than 32 levels deep"),
        (b"- " * 10_000, "values are nested more than 32 levels deep"),
        (b"a: [" + b"1," * 30_000 + b"]", "there are more than 2,000 values"),
        (b"search: {max_trials: " + b"9" * 5000 + b"}", "a number has 5,000 characters at line 1, column 22"),
        (
            b"name: !!timestamp 2026-01-31",
            "the tag !!timestamp is not supported; remove it, and enclose text in quotes",
        ),
        (b"name: !!binary aGVsbG8=", "the tag !!binary is not supported"),
        (b"name: !!omap [a: 1]", "the tag !!omap is not supported"),
        (b"seed: !!int abc", "'abc' is not a valid int"),
        (b"seed: !!float abc", "'abc' is not a valid float"),
        (b"seed: !!bool abc", "'abc' is not a valid bool"),
        (b"seed: 0x_", "'0x_' is not a valid int"),
        (b"search: !!map abc", "must be a mapping"),
        (b'name: "\\ud800"', "half of a surrogate pair"),
        (b"seed: 2026-01-31", 'seed: must be a valid integer, got "2026-01-31".'),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) else "",
)
def test_a_file_that_is_no_settings_is_refused_within_a_second(content: bytes, says: str, tmp_path: Path) -> None:
    file, began = tmp_path / "study.yaml", time.process_time()
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"{file}: ")
    assert time.process_time() - began < 1.0


def test_an_endless_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="larger than 64 KiB"):
        load(Path("/dev/zero"))


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_bytes(b"\xef\xbb\xbfseed: 3")
    assert load(file).seed == 3


def test_aliases_and_merges_are_accepted(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("space: {values: {a: &widths [16, 32], b: *widths}}")
    assert load(file).space.values == {"a": [16, 32], "b": [16, 32]}
    file.write_text("leases: {<<: {duration_s: 5.0}, chief_timeout_s: 60.0}")
    assert load(file).leases.duration_s == 5.0


def test_a_key_is_text(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("space: {values: {on: 1, 3: 2}}")
    assert load(file).space.values == {"on": 1, "3": 2}


@pytest.mark.parametrize("text", ["data: {source: }", "data:\n  source:", "data: {source: ''}", "data: {source: ' '}"])
def test_an_empty_source_is_not_the_sample(text: str, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"data\.source"):
        load(file)
    file.write_text("data: {source: null}")
    assert load(file).data.source is None


@pytest.mark.parametrize("setting", ["data.source=", "data.source= ", "training.patience=", "space.code="])
def test_an_empty_setting_is_an_error(setting: str) -> None:
    with pytest.raises(ConfigError, match=r"the value is empty\. Write a value, or null for the default\."):
        load(settings=[setting])
    variable = f"CIFAKE_TUNE_STUDY__{setting.partition('=')[0].upper().replace('.', '__')}"
    with pytest.raises(ConfigError, match=f"{variable}: the value is empty"):
        load(environment={variable: ""})


@pytest.mark.parametrize(
    "setting",
    [
        "search.max_trials=1000000000000000000000000000000", "training.epochs=1000001", "training.patience=1000001",
        "data.batch_size=1000001", "evaluation.batch_size=1000001", "evaluation.robustness_images=1000001",
        "search.max_consecutive_failures=1000001", "search.early_stopping.min_epochs=1000001",
        "search.early_stopping.reduction_factor=1000001", "retries.failure=1000001", "retries.preemption=1000001",
        "retries.out_of_memory=1000001", "leases.duration_s=1e-320", "leases.duration_s=1e9",
        "leases.stock_duration_s=0.05", "leases.chief_timeout_s=1e300", "data.validation=1e-320",
        "data.validation_seed=2147483648",
    ],
)  # fmt: skip
def test_every_number_has_bounds(setting: str) -> None:
    key = setting.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"{key}: must be (less|greater) than or equal to \S+, got "):
        load(settings=[setting])


@pytest.mark.parametrize("key", ["a..b", ".", "search.", ".search", "a." * 1000 + "b"])
def test_a_key_without_a_name_is_an_error(key: str) -> None:
    with pytest.raises(ConfigError, match=r"the key must be written as SECTION\.KEY"):
        load(settings=[f"{key}=1"])


def test_a_long_value_is_shortened_in_the_message() -> None:
    with pytest.raises(ConfigError) as caught:
        load(settings=[f"seed={'x' * 5000}"])
    assert len(str(caught.value)) < 500


def test_control_characters_of_a_key_are_masked() -> None:
    with pytest.raises(ConfigError) as caught:
        load(settings=["\x1b[31mred\nmore=3"])
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)
