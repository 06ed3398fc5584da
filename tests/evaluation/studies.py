"""Whole studies in a bucket, small but real: packed images, saved Keras models, a journal."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tuner import names
from tuner.bucket import Bucket
from tuner.bucket.local import LocalBucket
from tuner.config.settings import Study
from tuner.data.pack import pack
from tuner.names import TrialId
from tuner.study import journal
from tuner.study.records import Created, Ended, Finished, Leased, Opened, Outcome, Record, Reported, TrialState, Value

SIDE = 8
STUDY = "night"
CLASSES = ("FAKE", "REAL")
PLAIN: dict[str, Value] = {"filters": 20, "learning_rate": 0.001}


@dataclass
class Packed:
    """A data set in a bucket, and the pixels that it was made of."""

    digest: str
    test: dict[str, NDArray[np.uint8]]
    """Test images by class."""
    leaked: dict[str, NDArray[np.bool_]]
    """Which of them are training images too, by class."""


def pack_images(bucket: Bucket, folder: Path, classes: tuple[str, ...], per_class: int = 30, leaked: int = 4) -> Packed:
    """Pack noisy images, the brighter the later their class; the last class's first test images are leaked."""
    rng = np.random.default_rng(0)
    packed = Packed("", {}, {})
    for index, name in enumerate(classes):
        level = 255 * (index + 1) / (len(classes) + 1)
        noise = rng.normal(level, 40, (2 * per_class, 1, 1, 1)) + rng.normal(0, 10, (2 * per_class, SIDE, SIDE, 3))
        images = noise.clip(0, 255).astype(np.uint8)
        train, test = images[:per_class], images[per_class:]
        is_leaked = np.zeros(per_class, dtype=bool)
        if index == len(classes) - 1:
            test[:leaked], is_leaked[:leaked] = train[:leaked], True
        for split, pixels in (("train", train), ("test", test)):
            place = folder / split / name
            place.mkdir(parents=True)
            for number, image in enumerate(pixels):
                Image.fromarray(image).save(place / f"{number:04d}.png")
        packed.test[name], packed.leaked[name] = test, is_leaked
    packed.digest = pack(str(folder), bucket).digest
    return packed


def brightness_model(path: Path, threshold: float = 0.5, sharpness: float = 20.0) -> Path:
    """Save a model that says P(second class) = sigmoid(sharpness * (mean pixel / 255 - threshold))."""
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.layers[-1].set_weights([np.full((3, 1), sharpness / 3), np.array([-sharpness * threshold])])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    model.save(path)
    return path


def levels_model(path: Path, classes: int) -> Path:
    """Save a softmax model that prefers the class whose brightness is nearest."""
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )
    centres = (np.arange(classes) + 1) / (classes + 1)
    # -50 (x - c)^2 without the part that is the same for all classes
    model.layers[-1].set_weights([np.tile(100 * centres / 3, (3, 1)), -50 * centres**2])
    model.save(path)
    return path


@dataclass
class Night:
    """A study whose search goes on trial by trial."""

    bucket: LocalBucket
    data: Packed
    settings: Study
    segment: int = 0
    term: int = 0

    def write(self, *records: Record) -> None:
        self.segment += 1
        name = names.journal_segment(self.settings.name, self.segment)
        self.bucket.create(name, journal.encode(self.segment, "w", records))

    def open(self) -> None:
        self.term += 1
        self.write(
            Opened(at=0, term=self.term, writer="w", study=self.settings, data=self.data.digest, direction="max")
        )

    def trial(
        self,
        trial_id: str,
        score: float,
        model: Path,
        hyperparameters: dict[str, Value] | None = None,
        others: dict[str, float] | None = None,
        verified: bool | None = False,
        returned: bool = True,
    ) -> str:
        """Run a trial of two epochs whose second is its best; return its checkpoint. `others` are metrics beside.

        The scores of most tests are made up, so they are marked as numbers that `fit` returned and nothing confirms.
        `returned=False` makes them values of a metric.
        """
        trial = TrialId(trial_id)
        first, second = (names.checkpoint(self.settings.name, trial_id, 1, epoch) for epoch in (0, 1))
        self.bucket.upload(second, model)
        metrics = others or {}
        epochs = ((0, score - 0.1, first), (1, score, second))
        self.write(
            Created(at=1, trial=trial, hyperparameters=hyperparameters or PLAIN, algorithm={}),
            Leased(at=2, trial=trial, attempt=1, worker="w0", incarnation="i"),
            *(
                Reported(
                    at=3,
                    trial=trial,
                    attempt=1,
                    epoch=e,
                    metrics=metrics | {"val_accuracy": s},
                    checkpoint=c,
                    verified=verified,
                    returned=returned and verified is False and e == 1,
                )
                for e, s, c in epochs
            ),
            Ended(at=4, trial=trial, attempt=1, state=TrialState.COMPLETED, score=score, best_epoch=1),
        )
        return second

    def failed_trial(self, trial_id: str, reason: str) -> None:
        trial = TrialId(trial_id)
        self.write(
            Created(at=1, trial=trial, hyperparameters={}, algorithm={}),
            Leased(at=2, trial=trial, attempt=1, worker="w0", incarnation="i"),
            Ended(at=3, trial=trial, attempt=1, state=TrialState.FAILED, outcome=Outcome.FAILED, reason=reason),
        )

    def finish(self) -> None:
        self.write(Finished(at=9, reason="all trials are done"))


def brightness(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    return images.reshape(len(images), -1).mean(axis=1) / 255


def file(night: Night, name: str) -> bytes:
    return night.bucket.read(names.evaluation(STUDY, name))


def lose_the_test_split(night: Night, cache: Path) -> None:
    lost = [name for name in night.bucket.list("data/") if "/test-" in name]
    assert lost
    for name in lost:
        night.bucket.delete(name)
    shutil.rmtree(cache, ignore_errors=True)
