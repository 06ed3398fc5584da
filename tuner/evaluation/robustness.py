"""The robustness card: the accuracy on test images that something was done to, and how those images look."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner.data.arrays import Arrays
from tuner.evaluation.corruptions import DISTURBANCES, Images
from tuner.evaluation.result import Disturbed, Robustness
from tuner.evaluation.scores import wilson_interval

SHOWN_CLASSES = 4
AT_ONCE = 500
"""Images disturbed at a time: as floats, large ones would take gigabytes."""

Predict = Callable[[Images], NDArray[np.intp]]
"""The class predicted for each image."""


@dataclass(frozen=True)
class Card:
    """What `robustness` found."""

    numbers: Robustness
    samples: NDArray[np.uint8]
    """(classes, disturbances, height, width, 3): one image of each of the first classes."""


def robustness(
    test: Arrays, classes: tuple[str, ...], images: int, seed: int, predict: Predict, done: Callable[[int, int], None]
) -> Card:
    """Measure the model on `images` of the test images at most, chosen by `seed`.

    `done(disturbances, of)` is called after each.
    """
    generator = np.random.default_rng(seed)
    chosen = np.sort(generator.permutation(len(test.labels))[:images])
    pixels, labels = np.asarray(test.images[chosen]), test.labels[chosen]
    first_of_class = [int(np.argmax(labels == index)) for index in range(len(classes)) if (labels == index).any()]
    undisturbed: NDArray[np.intp] | None = None
    rows, samples = [], []
    for number, disturbance in enumerate(DISTURBANCES):
        noise = np.random.default_rng((seed, number))
        parts = (pixels[start : start + AT_ONCE] for start in range(0, len(pixels), AT_ONCE))
        predicted = np.concatenate([predict(disturbance.apply(part, noise)) for part in parts])
        undisturbed = predicted if undisturbed is None else undisturbed
        right = predicted == labels
        rows.append(
            Disturbed(
                disturbance=disturbance.name,
                accuracy=float(right.mean()),
                accuracy_interval_95=wilson_interval(int(right.sum()), len(right)),
                recall={
                    name: float(right[labels == index].mean())
                    for index, name in enumerate(classes)
                    if (labels == index).any()
                },
                changed=float((predicted != undisturbed).mean()),
            )
        )
        shown = pixels[first_of_class[:SHOWN_CLASSES]]
        samples.append(disturbance.apply(shown, np.random.default_rng((seed, number))))
        done(number + 1, len(DISTURBANCES))
    by_class = np.stack(samples, axis=1)
    return Card(Robustness(images=len(labels), seed=seed, samples=len(by_class), disturbances=tuple(rows)), by_class)
