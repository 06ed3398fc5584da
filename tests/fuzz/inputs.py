"""Hypothesis strategies for what a user gives the command line: mostly near to valid, with hostile parts."""

import os
from dataclasses import dataclass, field

from hypothesis import strategies as st

from tuner import names
from tuner.config.loading import all_keys

HOSTILE = (
    "", " ", "~", "null", "0", "-1", "1", "3", "1.5", "1e-3", "1e-320", "1e300", "1e999", ".nan", "-.inf", "9" * 30,
    "9" * 5000, "0x_", "0b_", "0x", "0o", "1:30", "1_000", "true", "on", "=", "<<", "2026-01-31",
    "!!timestamp 2026-01-31", "!!timestamp x", "!!binary x", "!!int x", "!!int ''", "!!float x", "!!bool x",
    "!!null x", "!!set {a}", "!!omap [a: 1]", "!!map x", "!!seq x", "!!str [a]", "!!python/name:os.system", "!<x> 1",
    "!!x%ff 1", "*a", "&a 1", "&a [*a]", "&a {b: *a}", "{<<: *a}", "{<<: x}", "[", "]", "{", "}", "- ", "? ", ": ",
    "|", ">", "'", '"', "#", "&", "*", "!", "%", "@", "`", "[1, 2]", "[1, a]", "[true, 1]", "{a: 1}", "{width: 32}",
    "{3: 4}", "[[[1]]]", "[" * 200, "{a: " * 200, "- " * 200, '"\\e[31mred"', '"\\0"', '"\\ud800"', "\x1b[2J", "\x07",
    "\x7f", "\x85", "\u2028", "\u202e", "\ufeff", "\ud7ff", "\U0001f600", "a\0b", "../../x", "/x", "a" * 3000, "asha",
    "none", "random", "hyperband", "seed", "a:B", "tcp://10.0.0.1:80", "text", "json", "127.0.0.1:0", ":", "-", "--",
    "---", "...", "%YAML 9.9",
)  # fmt: skip
SECTIONS = sorted({key.rpartition(".")[0] for key in all_keys()} - {""})
VARIABLES = sorted(value for name, value in vars(names).items() if name.startswith("ENV_") and isinstance(value, str))
# these would open connections, end the test's own process with its parent, or choose what the tests already import
UNSAFE = {names.ENV_QUIT_URL, names.ENV_PARENT, names.ENV_EMULATOR}
KUBERNETES = ("CIFAKE_TUNE_CHIEF_SERVICE_HOST", "CIFAKE_TUNE_CHIEF_PORT", "CIFAKE_TUNE_BUCKET_PORT_80_TCP_ADDR")
COMMANDS = (
    "run", "chief", "status", "trials", "logs", "report", "schema", "data check", "evaluate", "x", "",
)  # fmt: skip
OPTIONS = (
    "--study", "--bucket", "--set", "--data", "--workers", "--json", "--check", "--debug", "--help", "--x", "-n", "-h",
)  # fmt: skip


@dataclass(frozen=True)
class Input:
    """One call of the command line."""

    arguments: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    study: bytes | None = None
    """Content of study.yaml."""


texts = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=20), st.integers().map(str), st.floats().map(str))
values = st.one_of(texts, st.lists(texts, max_size=4).map(" ".join), st.lists(texts, max_size=4).map(", ".join))
keys = st.one_of(
    st.sampled_from(all_keys()),
    st.sampled_from(SECTIONS),
    st.builds("{}.{}".format, st.sampled_from([*SECTIONS, "space.values"]), texts),
    texts,
)


@st.composite
def _lines(draw: st.DrawFn) -> str:
    """Return a file with sections, of which some lines are wrong."""
    lines = [draw(st.sampled_from(["", "a: &a [1, 2]", "a: &a {b: 1}", "---", "\ufeff"]))]
    for section in draw(st.lists(st.sampled_from([*SECTIONS, "", "values"]), max_size=4)):
        indent = "  " * draw(st.integers(0, 2))
        lines.append(f"{section.rpartition('.')[2]}:" if section else draw(texts))
        for key in draw(st.lists(keys, max_size=3)):
            lines.append(f"{indent}{key.rpartition('.')[2]}:{draw(st.sampled_from([' ', '']))}{draw(values)}")
    return "\n".join(lines)


def _aliases(depth: int, width: int) -> str:
    rows = [f"a0: &a0 [{', '.join(['x'] * width)}]"]
    rows += [f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * width)}]" for at in range(1, depth)]
    return "\n".join(rows)


files = st.one_of(
    st.none(),
    st.binary(max_size=200),
    _lines().map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.tuples(_lines(), st.sampled_from(["utf-16", "utf-16-le", "utf-32", "latin-1", "utf-7"])).map(
        lambda pair: pair[0].encode(pair[1], "replace")
    ),
    st.builds(_aliases, st.integers(1, 40), st.integers(1, 12)).map(str.encode),
    st.builds(lambda text, times: (text * times).encode("utf-8", "replace"), texts, st.integers(1, 3000)),
)


def _of_a_process(text: str) -> str:
    """Return the text as a process can receive it: no NUL, and undecodable bytes as Python represents them."""
    return os.fsdecode(text.replace("\0", "").encode("utf-8", "replace"))


arguments_of_set = st.builds("{}={}".format, keys, values) | texts
variables = st.one_of(
    st.sampled_from([name for name in VARIABLES if name not in UNSAFE]),
    st.sampled_from(all_keys()).map(lambda key: names.ENV_SETTING + key.upper().replace(".", "__")),
    texts.filter(lambda text: "=" not in text and "\0" not in text).map(lambda text: names.ENV_SETTING + text),
    st.sampled_from(KUBERNETES),
    st.sampled_from(["CIFAKE_TUNE_BUKET", "CIFAKE_TUNE_STUDY_SEARCH__MAX_TRIALS", "CIFAKE_TUNE_", "CIFAKE_TUNE_\x1b"]),
)
undecodable = st.binary(max_size=6).map(lambda content: os.fsdecode(content.replace(b"\0", b"")))
environments = st.dictionaries(
    variables.map(_of_a_process), st.one_of(texts.map(_of_a_process), undecodable), max_size=3
)
options = st.one_of(
    st.sampled_from(OPTIONS),
    values,
    st.builds(lambda name, value: f"{name}={value}", st.sampled_from(OPTIONS), values),
)


@st.composite
def inputs(draw: st.DrawFn) -> Input:
    """Return a strategy for calls. Half of them read a file with settings, since most can go wrong there."""
    study = draw(files)
    settings = [part for text in draw(st.lists(arguments_of_set, max_size=2)) for part in ("--set", text)]
    others = draw(st.one_of(st.just([]), st.lists(options, max_size=4)))
    command = draw(st.one_of(st.just("chief --check"), st.just("run"), st.sampled_from(COMMANDS)))
    given = [*command.split(), *(["--study", "study.yaml"] if study is not None else []), *settings, *others]
    return Input(tuple(map(_of_a_process, given)), draw(environments), study)
