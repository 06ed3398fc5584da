"""What every reader does with what another version wrote, shown on the files of the finished study.

They were written before anything had a `format`, so that each of them is read as 1.0 is shown by each test here.
Messages between chief and worker: tests/rpc/test_formats.py and tests/worker/test_formats.py.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.compatibility.conftest import STUDY
from tests.support.evaluations import read_metrics
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.config import formats
from tuner.config.data_settings import Data
from tuner.config.settings import Study
from tuner.data.manifest import read_manifest
from tuner.data.prepare import await_prepared
from tuner.errors import CifakeTuneError
from tuner.report.rebuild import make_report
from tuner.study.journal import read_records, read_study
from tuner.study.records import Record
from tuner.study.status import EvaluationSummary
from tuner.training.checkpoint import MEMBER, DamagedCheckpointError, read_progress

Document = dict[str, Any]
Edit = Callable[[Document], None]
DIGEST = "053f9466826df15f7f53f8dd6776dee70f881996aca09eeff39373a8665451b2"
BEST = names.checkpoint(STUDY, "00001", 2, 6)


def whole(data: bytes, edit: Edit) -> bytes:
    """Edit a file that is one JSON object."""
    document = json.loads(data)
    edit(document)
    return json.dumps(document).encode()


def header(data: bytes, edit: Edit) -> bytes:
    """Edit the first line."""
    first, _, body = data.partition(b"\n")
    return whole(first, edit) + b"\n" + body


def body(data: bytes, edit: Edit) -> bytes:
    """Edit the second line, the first record of a segment or a snapshot's state; the header gets its checksum."""
    first, _, rest = data.partition(b"\n")
    line, newline, others = rest.partition(b"\n")
    rest = whole(line, edit) + newline + others
    return header(first, lambda document: document.update(sha256=hashlib.sha256(rest).hexdigest())) + rest


def member(data: bytes, edit: Edit) -> bytes:
    """Edit a checkpoint's own member."""
    edited = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(edited, "w") as new:
        for name in old.namelist():
            new.writestr(name, whole(old.read(name), edit) if name == MEMBER else old.read(name))
    return edited.getvalue()


def records(bucket: LocalBucket) -> list[Record]:
    return list(read_records(bucket, STUDY))


def evaluation_summary(bucket: LocalBucket) -> object:
    return EvaluationSummary.model_validate_json(bucket.read(names.evaluation(STUDY, names.METRICS_JSON)))


def progress(bucket: LocalBucket) -> object:
    file = Path(bucket.url) / BEST
    return read_progress(file)


def state(bucket: LocalBucket) -> object:
    read = read_study(bucket, STUDY)
    # a snapshot of 0.1.0 does not have these
    return replace(read, began=None, trials={key: replace(trial, leased=None) for key, trial in read.trials.items()})


def prepared(bucket: LocalBucket) -> object:
    return await_prepared(Study(name=STUDY, data=Data(source="images")), bucket, timeout_s=0)


@dataclass(frozen=True)
class Reader:
    """A file, how its format is edited, and what reads it."""

    file: str
    edit: Callable[[bytes, Edit], bytes]
    read: Callable[[LocalBucket], object]


READERS = {
    "a journal's segment": Reader(names.journal_segment(STUDY, 1), header, records),
    "a record": Reader(names.journal_segment(STUDY, 1), body, records),
    "a snapshot": Reader(names.snapshot(STUDY, 11), header, state),
    "a manifest": Reader(names.manifest(DIGEST), whole, lambda bucket: read_manifest(bucket, DIGEST)),
    "the note of `data prepare`": Reader(names.prepared(STUDY), whole, prepared),
    "metrics.json": Reader(
        names.evaluation(STUDY, names.METRICS_JSON), whole, lambda bucket: read_metrics(bucket, STUDY)
    ),
    "metrics.json, as the chief reads it": Reader(
        names.evaluation(STUDY, names.METRICS_JSON), whole, evaluation_summary
    ),
    "provenance.json": Reader(
        names.evaluation(STUDY, names.PROVENANCE_JSON), whole, lambda bucket: make_report(bucket, STUDY)
    ),
    "a checkpoint": Reader(BEST, member, progress),
}


@pytest.fixture
def bucket(copy_of_finished: LocalBucket) -> LocalBucket:
    copy_of_finished.write(names.prepared(STUDY), json.dumps({"source": "images", "digest": DIGEST}).encode())
    return copy_of_finished


def edit(bucket: LocalBucket, reader: Reader, **changes: object) -> None:
    original = bucket.read(reader.file)
    after = reader.edit(original, lambda document: document.update(changes))
    assert after != original
    bucket.write(reader.file, after)


@pytest.mark.parametrize("what", READERS)
def test_fields_of_a_newer_minor_version_are_ignored(bucket: LocalBucket, what: str) -> None:
    reader = READERS[what]
    original = repr(reader.read(bucket))
    edit(bucket, reader, format="1.907", unheard={"of": [1]})
    assert repr(reader.read(bucket)).replace("1.907", "1.0") == original


@pytest.mark.parametrize("what", READERS)
def test_a_newer_major_version_is_refused_with_both_and_the_file(bucket: LocalBucket, what: str) -> None:
    reader = READERS[what]
    edit(bucket, reader, format="3.1", unheard=1)
    with pytest.raises(CifakeTuneError, match=r"has format 3\.1, and this program reads 2\.0\. Use ") as refused:
        reader.read(bucket)
    if reader.read not in (evaluation_summary, progress):  # whose callers know the name, and say it
        assert reader.file in str(refused.value)


@pytest.mark.parametrize("what", READERS)
def test_what_is_no_version_is_not_taken_for_one(bucket: LocalBucket, what: str) -> None:
    reader = READERS[what]
    edit(bucket, reader, format="newest")
    if what == "a snapshot":  # only saves reading the journal
        assert reader.read(bucket) == READERS["a snapshot"].read(bucket)
    else:
        with pytest.raises((CifakeTuneError, DamagedCheckpointError, ValueError)):
            reader.read(bucket)


def test_what_has_no_format_is_1_0_also_for_later_versions(
    bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "COMPATIBLE", "1.5")
    metrics = read_metrics(bucket, STUDY)
    assert metrics is not None
    assert metrics.format == read_manifest(bucket, DIGEST).format == "1.0"
    assert {record.format for record in read_records(bucket, STUDY)} == {"1.0"}
    assert formats.Versioned().format == "1.5"


def test_what_is_written_has_a_format(bucket: LocalBucket) -> None:
    metrics = read_metrics(bucket, STUDY)
    assert metrics is not None
    for written in (metrics, read_manifest(bucket, DIGEST), read_progress(Path(bucket.url) / BEST), *records(bucket)):
        assert next(iter(json.loads(written.model_dump_json()).items())) == ("format", "1.0")  # where a person sees it
