"""Objects as a real API server (v1.34) gave them, fields that nobody reads removed.

The pods are those of `tests/e2e/test_troubles.py` and their like: each cannot run for another reason.
"""

import json
from pathlib import Path
from typing import TypeVar

from k8s.cluster.objects import Deployment, Event, Job, Object, ObjectList, Pod

FOLDER = Path(__file__).parent / "captured"
Kind = TypeVar("Kind", bound=Object)


def read(name: str, kind: type[Kind]) -> dict[str, Kind]:
    """Return the objects of a file by their names."""
    listing: ObjectList[Kind] = ObjectList[kind].model_validate_json((FOLDER / name).read_bytes())  # type: ignore[valid-type]
    return {item.name: item for item in listing.items}


def pods() -> dict[str, Pod]:
    return read("pods.json", Pod)


def jobs() -> dict[str, Job]:
    return read("jobs.json", Job)


def deployments() -> dict[str, Deployment]:
    return read("deployments.json", Deployment)


def events() -> list[Event]:
    return list(read("events.json", Event).values())


def release_parts(kind: type[Kind]) -> list[Kind]:
    """Return the objects of one type of a release that runs: two workers train, the third finds no GPUs."""
    parts = json.loads((FOLDER / "release.json").read_text(encoding="utf-8"))
    plural = f"{kind.__name__.lower()}s"
    return [kind.model_validate(part) for part in parts[plural]]
