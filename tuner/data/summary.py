"""Describe a packed data set in lines of text."""

from tuner.data.manifest import Manifest
from tuner.data.split_names import TEST, TRAIN, VALIDATION
from tuner.printable import printable

MAX_CLASSES = 20
"""Number of classes that are named."""
_NOUNS = {TRAIN: "training", VALIDATION: "validation", TEST: "test"}


def data_lines(manifest: Manifest) -> tuple[str, ...]:
    """Return the number of images, their size and classes in the first line, and one line for each note."""
    counts = [f"{sum(split.counts):,} {_NOUNS.get(name, name)}" for name, split in manifest.splits.items()]
    height, width, _ = manifest.image_shape
    classes = [printable(name) for name in manifest.classes[:MAX_CLASSES]]
    if len(manifest.classes) > MAX_CLASSES:
        classes.append(f"and {len(manifest.classes) - MAX_CLASSES:,} more")
    first = (
        f"Data: {', '.join(counts[:-1])} and {counts[-1]} images of {height} x {width} (height x width), classes "
        f"{', '.join(classes)} (data set {manifest.digest[:12]})."
    )
    return (first, *(f"Data: {note}" for note in manifest.notes))
