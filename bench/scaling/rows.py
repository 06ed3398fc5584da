"""Repeated measurements of one size."""

import statistics
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    R = TypeVar("R", bound=DataclassInstance)


def medians(rows: Sequence["R"]) -> "R":
    """Return a row with the median of each figure; None if a figure was not measured."""
    values = {field.name: [getattr(row, field.name) for row in rows] for field in fields(rows[0])}
    return type(rows[0])(**{
        name: None if None in of else statistics.median(of) for name, of in values.items()
    })  # fmt: skip
