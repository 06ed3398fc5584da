"""No field of a document is added or removed without another version of the format."""

import json

from tests.compatibility.earlier_release import EarlierRelease
from tests.compatibility.format_fields import FILE, described
from tuner.config.formats import COMPATIBLE, FORMAT, parse_format

FIELDS_OF_RECORDS = """
import json, typing
from tuner.study import records
from tuner.rpc.lease_service import METHODS
union, *_ = typing.get_args(records.Record)
classes = [*typing.get_args(union), *(message for pair in METHODS.values() for message in pair)]
print(json.dumps({each.__name__: sorted(each.model_fields) for each in classes}))
"""


def test_the_fields_are_those_of_these_versions() -> None:
    """If this fails, follow docs/formats.md ("How to change a format"), unless no release has these versions yet."""
    assert described() == json.loads(FILE.read_text())


def test_no_field_of_the_earlier_release_was_removed(earlier: EarlierRelease) -> None:
    known = described()["fields"]
    for document, names in json.loads(earlier.evaluate(FIELDS_OF_RECORDS)).items():
        assert set(names) <= set(known[document]), document


def test_older_readers_ignore_the_one_version_and_refuse_the_other() -> None:
    assert parse_format(COMPATIBLE).major == 1
    assert parse_format(FORMAT).major == 2
