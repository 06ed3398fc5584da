"""The robustness card: the accuracy on corrupted test images, and samples of those images."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner.data.arrays import Arrays
from tuner.evaluation.corruptions import CORRUPTIONS, Images
from tuner.evaluation.result import CorruptionScore, Robustness
from tuner.evaluation.scores import wilson_interval

SHOWN_CLASSES = 4
AT_ONCE_PX = 2000 * 32 * 32
"""Number of pixels corrupted at a time, because many large images would take gigabytes as floats."""

Predict = Callable[[Images], NDArray[np.intp]]
"""Returns the predicted class of each image."""


@dataclass(frozen=True)
class Card:
    """The result of `robustness`."""

    numbers: Robustness
    samples: NDArray[np.uint8]
    """(classes, corruptions, height, width, 3): one image of each of the first classes."""


def robustness(
    test: Arrays, classes: tuple[str, ...], images: int, seed: int, predict: Predict, done: Callable[[int, int], None]
) -> Card:
    """Measure the model on at most `images` test images, chosen by `seed`.

    `done(count, total)` is called after each corruption.
    """
    generator = np.random.default_rng(seed)
    chosen = np.sort(generator.permutation(len(test.labels))[:images])
    labels = test.labels[chosen]
    at_once = max(1, AT_ONCE_PX // (test.images.shape[1] * test.images.shape[2]))
    parts = [chosen[start : start + at_once] for start in range(0, len(chosen), at_once)]
    first_of_class = [int(np.argmax(labels == index)) for index in range(len(classes)) if (labels == index).any()]
    unchanged: NDArray[np.intp] | None = None
    rows, samples = [], []
    for number, corruption in enumerate(CORRUPTIONS):
        noise = np.random.default_rng((seed, number))
        predicted = np.concatenate([predict(corruption.apply(np.asarray(test.images[part]), noise)) for part in parts])
        unchanged = predicted if unchanged is None else unchanged
        right = predicted == labels
        rows.append(
            CorruptionScore(
                disturbance=corruption.name,
                accuracy=float(right.mean()),
                accuracy_interval_95=wilson_interval(int(right.sum()), len(right)),
                recall={
                    name: float(right[labels == index].mean())
                    for index, name in enumerate(classes)
                    if (labels == index).any()
                },
                changed=float((predicted != unchanged).mean()),
            )
        )
        examples = np.asarray(test.images[chosen[first_of_class[:SHOWN_CLASSES]]])
        samples.append(corruption.apply(examples, np.random.default_rng((seed, number))))
        done(number + 1, len(CORRUPTIONS))
    by_class = np.stack(samples, axis=1)
    return Card(Robustness(images=len(labels), seed=seed, samples=len(by_class), disturbances=tuple(rows)), by_class)
