"""The names of splits, as people write them: train, Training, training_set, val, validation, valid, test, testing …"""

import re

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, TEST)
"""The splits that every data set has."""
ALL_SPLITS = (TRAIN, VALIDATION, TEST)
"""All splits, in packing order."""

_NOUN = r"(?:sets?|data|dataset|images?|imgs?|pics?|pictures|photos|splits?|folder|dir)?"
_NAMES = {
    TRAIN: re.compile(rf"(?:train|training|trn){_NOUN}"),
    VALIDATION: re.compile(rf"(?:val|valid|validation|validate|validating|dev){_NOUN}"),
    TEST: re.compile(rf"(?:test|testing|tst){_NOUN}"),
}
_IGNORED = re.compile(r"[\s_.-]+")


def split_of(name: str) -> str | None:
    """Return the split that a folder or a word names; None if it names none."""
    plain = _IGNORED.sub("", name.casefold())
    return next((split for split, pattern in _NAMES.items() if pattern.fullmatch(plain)), None)
