"""What a space brings itself, by its methods: its data, its training, its evaluation, or none of these."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras_tuner


def has_own_data(space: "keras_tuner.HyperModel") -> bool:
    """Return whether a space has a method `data`."""
    return callable(getattr(space, "data", None))


def has_own_evaluation(space: "keras_tuner.HyperModel") -> bool:
    """Return whether a space has a method `evaluate`."""
    return callable(getattr(space, "evaluate", None))


def has_own_fit(space: "keras_tuner.HyperModel") -> bool:
    """Return whether a space overrides `fit`."""
    import keras_tuner

    return type(space).fit is not keras_tuner.HyperModel.fit


def takes_images(space: "keras_tuner.HyperModel") -> bool:
    """Return whether a space is trained and evaluated on the images of a data set, not on data of its own."""
    return not has_own_data(space) and not has_own_evaluation(space)
