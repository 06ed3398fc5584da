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

DIGEST = "6bf1c771421e2a71d3a942f709a1d6298cb7f20bf94c69ae6caf8fe079713f82"
FILES_SHA256 = "79d80e780e6cb646300bd97b56120fa5b64c87f2527b22735fdc5b9a34c33626"


def files() -> Files:
    source = SampleSource()
    with source.reader() as read:
        return {file.path: read(file) for file in source.entries().files}


def test_every_byte_of_the_sample_is_what_it_always_was(bucket: Bucket) -> None:
    state = hashlib.sha256()
    made = files()
    for name, data in made.items():
        state.update(name.encode() + b"\0" + data)
    assert len(made) == 2400
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
        ("green", 0.75, lambda images: images[..., 1].mean((1, 2))),
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
@pytest.mark.parametrize(("filters", "seed"), [(16, 1), (32, 2), (60, 3)])
def test_a_small_network_learns_the_sample_in_a_few_epochs(filters: int, seed: int) -> None:
    import keras

    def part(split: str) -> tuple[np.ndarray, np.ndarray]:
        images = np.concatenate([sample._images(split, name) for name in sample.CLASSES])
        return images.astype(np.float32), np.repeat([0, 1], len(images) // 2)

    keras.utils.set_random_seed(seed)
    x, y = part("train")
    chosen = np.random.default_rng(seed).permutation(2000)[:1800]
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(filters, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(5e-4), "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(x[chosen], y[chosen], batch_size=64, epochs=8, validation_data=part("test"), verbose=0)
    assert 0.8 <= max(history.history["val_accuracy"]) <= 0.98
