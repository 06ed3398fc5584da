"""The fields of every document that has a format. `python -m tests.compatibility.format_fields`
writes them to formats.json, with which a test compares them.
"""

import json
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from tuner.config.formats import COMPATIBLE, FORMAT
from tuner.control.request import Request
from tuner.data.manifest import Manifest
from tuner.data.prepare import Prepared
from tuner.evaluation.own_result import OwnMetrics
from tuner.evaluation.provenance import Provenance
from tuner.evaluation.result import Metrics
from tuner.rpc.lease_service import METHODS
from tuner.study import records
from tuner.study.chief_end import ChiefEnd
from tuner.study.journal import Header
from tuner.study.state import StudyState
from tuner.study.trial import Trial
from tuner.training.checkpoint import CheckpointState

FILE = Path(__file__).with_name("formats.json")


def documents() -> Iterable[type]:
    """Return the classes of all documents."""
    union, *_ = get_args(records.Record)
    messages = {message for pair in METHODS.values() for message in pair}
    files = [Header, StudyState, Trial, Request, Manifest, Prepared, ChiefEnd, CheckpointState]
    results = [Metrics, OwnMetrics, Provenance]
    return [*get_args(union), *sorted(messages, key=lambda message: message.__name__), *files, *results]


def described() -> dict[str, Any]:
    """Return the versions and the fields of all documents."""
    return {
        "reads": FORMAT,
        "writes": COMPATIBLE,
        "fields": {document.__name__: _fields(document) for document in documents()},
    }


def _fields(document: type) -> list[str]:
    if is_dataclass(document):
        return sorted(field.name for field in fields(document))
    assert issubclass(document, BaseModel)
    return sorted(document.model_fields)


if __name__ == "__main__":
    FILE.write_text(json.dumps(described(), indent=1) + "\n")
