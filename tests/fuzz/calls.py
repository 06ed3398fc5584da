"""One call of the command line in this process, and what must hold of its answer."""

import contextlib
import os
import signal
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from tests.fuzz.inputs import Input
from tests.support.command_line import Finished, run_in_process
from tuner import names
from tuner.errors import BucketError, ExitCode

LIMIT_S = 5.0
"""Processor time of one call."""
EXIT_CODES = set(map(int, ExitCode)) - {ExitCode.INTERNAL}


def call(given: Input) -> Finished:
    """Run the command in an empty folder. `run` ends where it would begin to pack data and to start processes."""
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        patch("tuner.local.run.run_study"),
        patch("tuner.cli.roles._run_chief"),
        patch("tuner.cli.roles.importing_keras", contextlib.nullcontext),
        patch("tuner.bucket.gcs.connect", side_effect=BucketError("no credentials.")),
        _limited(),
    ):
        if given.study is not None:
            Path("study.yaml").write_bytes(given.study)
        return run_in_process(
            *given.arguments,
            environment={
                names.ENV_BUCKET: "bucket",
                names.ENV_CACHE: os.path.join(folder, "cache"),
                **given.environment,
            },
        )


def check(given: Input) -> None:
    """Raise AssertionError if the answer is not the one that a user needs."""
    done = call(given)
    text = done.out + done.err
    assert "internal error" not in text, text
    assert "Traceback" not in text, text
    assert done.code in EXIT_CODES, (done.code, text)
    if done.code not in (ExitCode.DONE, ExitCode.PREEMPTED):
        assert done.err.strip(), "the command fails without a message"
    raw = {character for character in text if unicodedata.category(character)[0] == "C" and character != "\n"}
    assert not raw, (raw, text)


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """End a call that takes too long. Processor time does not depend on what else this machine does."""

    def end(*_: object) -> None:
        raise RuntimeError(f"the call takes more than {LIMIT_S:g} s")

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
