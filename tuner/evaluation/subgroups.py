"""Subgroups of CIFAKE by the object shown, according to the file name's suffix: `0007 (6).jpg` shows a dog."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tuner.evaluation.result import ObjectClass
from tuner.evaluation.scores import Labels, wilson_interval

OBJECTS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""CIFAR-10's classes, in the order of the suffixes: no suffix, (2), …, (10)."""
CLASSES = ("FAKE", "REAL")

_NAME = re.compile(r"(?:FAKE|REAL)/\d{1,4}(?: \((\d{1,2})\))?\.jpg")


def objects_of(names: Sequence[str], classes: Sequence[str]) -> NDArray[np.intp] | None:
    """Return each image's object as an index of OBJECTS; None if the files are not named as CIFAKE's are."""
    if tuple(classes) != CLASSES:
        return None
    objects = []
    for name in names:
        match = _NAME.fullmatch(name)
        number = int(match[1] or 1) if match else 0
        if not 1 <= number <= len(OBJECTS):
            return None
        objects.append(number - 1)
    if set(objects) != set(range(len(OBJECTS))):
        return None
    return np.array(objects, dtype=np.intp)


def by_object(
    names: Sequence[str], labels: Labels, right: NDArray[np.bool_], classes: Sequence[str]
) -> tuple[ObjectClass, ...] | None:
    """Return the accuracy on each object's images; None if the files are not named as CIFAKE's are."""
    objects = objects_of(names, classes)
    if objects is None:
        return None
    scores = []
    for index, name in enumerate(OBJECTS):
        in_group = objects == index
        by_class = {each: right[in_group & (labels == number)] for number, each in enumerate(classes)}
        images, correct = int(in_group.sum()), int(right[in_group].sum())
        scores.append(
            ObjectClass(
                name=name,
                images=images,
                accuracy=correct / images,
                accuracy_interval_95=wilson_interval(correct, images),
                accuracy_by_class={each: float(part.mean()) for each, part in by_class.items() if len(part)},
            )
        )
    return tuple(scores)
