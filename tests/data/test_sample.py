"""The built-in sample is the same everywhere, and neither trivial nor hopeless."""

import hashlib
import time

import numpy as np
import pytest

from tests.data.images import Files
from tuner.bucket import Bucket
from tuner.data import sample
from tuner.data.pack import pack
from tuner.data.sample import SampleSource

DIGEST = "ac4759308ad172779245a45041cb6838f654fdca4fa5541a8e99cc6a068dcbae"
FILES_SHA256 = "5e02593b05267f0c567c9555b92bd660395f85dc13959daa01718c9e443c4923"


def files() -> Files:
    source = SampleSource()
    with source.reader() as read:
        return {file.path: read(file) for file in source.entries().files}


def test_every_byte_of_the_sample_is_what_it_always_was(bucket: Bucket) -> None:
    state = hashlib.sha256()
    sample = files()
    for name, data in sample.items():
        state.update(name.encode() + b"\0" + data)
    assert len(sample) == 2400
    assert state.hexdigest() == FILES_SHA256
    assert pack(None, bucket).digest == DIGEST


def test_the_sample_is_32x32_rgb_of_two_classes(bucket: Bucket) -> None:
    manifest = pack(None, bucket)
    assert manifest.classes == ("FAKE", "REAL")
    assert manifest.image_shape == (32, 32, 3)
    assert manifest.splits["train"].counts == (1000, 1000)
    assert manifest.splits["test"].counts == (200, 200)
    assert len({*manifest.splits["train"].sha256, *manifest.splits["test"].sha256}) == 2400


def test_the_sample_is_made_in_no_time() -> None:
    sample._images.cache_clear()
    began = time.process_time()
    files()
    assert time.process_time() - began < 3  # 0.5 s on a free core; a loop over pixels would take a minute


def test_neither_colour_nor_contrast_alone_tells_the_classes_apart() -> None:
    """The best threshold on a simple statistic: better than chance by colour, never as good as a network."""
    fake, real = (sample.generate(1000, is_fake, seed) for is_fake, seed in ((True, 1), (False, 2)))
    for name, limit, statistic in (
        ("green", 0.8, lambda images: images[..., 1].mean((1, 2))),
        ("contrast", 0.6, lambda images: images.std((1, 2, 3))),
        ("sharpness", 0.7, lambda images: np.abs(np.diff(images.astype(int), axis=1)).mean((1, 2, 3))),
    ):
        values = np.concatenate([statistic(fake), statistic(real)])
        is_fake = np.arange(2000) < 1000
        order = is_fake[np.argsort(values)]
        below = np.cumsum(order) + (1000 - np.cumsum(~order))
        accuracy = max(below.max(), 2000 - below.min()) / 2000
        assert accuracy < limit, name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("filters", "pooled", "units", "activation", "learning_rate", "seed"),
    [
        (8, False, (32,), "relu", 1e-3, 5),
        (40, True, (200, 100), "tanh", 5e-4, 3),
        (60, True, (300, 200), "relu", 5e-4, 4),
    ],
)
def test_a_small_network_learns_the_sample_in_a_few_epochs(
    filters: int, pooled: bool, units: tuple[int, ...], activation: str, learning_rate: float, seed: int
) -> None:
    from keras import Sequential, layers, optimizers, utils

    def part(split: str) -> tuple[np.ndarray, np.ndarray]:
        images = np.concatenate([sample._images(split, name) for name in sample.CLASSES])
        return images, np.repeat([0, 1], len(images) // 2)

    utils.set_random_seed(seed)
    x, y = part("train")
    chosen = np.random.default_rng(seed).permutation(2000)[:1800]
    model = Sequential([layers.Rescaling(1 / 255), layers.Conv2D(filters, 3, activation="relu")])
    if pooled:
        model.add(layers.MaxPooling2D())
    model.add(layers.Flatten())
    for width in units:
        model.add(layers.Dense(width, activation=activation))
    model.add(layers.Dense(1, activation="sigmoid"))
    model.compile(optimizers.Adam(learning_rate), "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(x[chosen], y[chosen], batch_size=128, epochs=6, validation_data=part("test"), verbose=0)
    assert 0.8 <= max(history.history["val_accuracy"]) <= 0.97, history.history["val_accuracy"]
