"""mixup and CutMix: what becomes of images, what of the loss, and that nothing does when a model predicts."""

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.spaces.deep_trials import hyperparameters
from tuner.spaces.deep import DeepSpace
from tuner.spaces.layers.mixing import MIXINGS, CutMix, MixedModel, Mixing, MixUp

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3)).astype(np.float32)
BEFORE = np.roll(IMAGES, 1, axis=0)


def mixed(layer: Mixing) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    outputs = layer(IMAGES, training=True)
    return keras.ops.convert_to_numpy(outputs), shares(layer, IMAGES.shape)


def shares(layer: Mixing, shape: tuple[int, ...]) -> NDArray[np.float32]:
    own_shares: NDArray[np.float32] = keras.ops.convert_to_numpy(layer.kept(shape))
    return own_shares


@pytest.mark.parametrize("mixing", MIXINGS.values())
def test_the_images_of_a_batch_keep_shares_spread_from_a_half_to_one(mixing: type[Mixing]) -> None:
    kept = shares(mixing(), (500, 32, 32, 3))
    assert kept.min() >= 0.5
    assert kept.min() < 0.55
    assert kept.max() == pytest.approx(1, abs=0.01)
    assert np.diff(np.sort(kept)).max() < 0.05
    assert kept.mean() == pytest.approx(0.75, abs=0.03)


def test_mixup_adds_the_image_before() -> None:
    outputs, kept = mixed(MixUp())
    own = kept[:, None, None, None]
    np.testing.assert_allclose(outputs, own * IMAGES + (1 - own) * BEFORE, atol=1e-3)


def test_cutmix_lays_a_square_of_the_image_before_over_each_anywhere() -> None:
    keras.utils.set_random_seed(2)
    places = set()
    for _ in range(20):
        outputs, kept = mixed(CutMix())
        own = (outputs == IMAGES).all(axis=-1)
        np.testing.assert_array_equal(np.where(own[..., None], IMAGES, BEFORE), outputs)
        covered = ~own
        sides = np.sqrt(64 * (1 - kept))
        np.testing.assert_allclose(covered.any(axis=2).sum(axis=1), sides, atol=1e-3)
        np.testing.assert_allclose(covered.any(axis=1).sum(axis=1), sides, atol=1e-3)
        np.testing.assert_allclose(covered.sum(axis=(1, 2)), sides**2, atol=1e-3)
        places.add(covered[5].tobytes())
    assert len(places) > 12


def test_cutmix_knows_what_it_covers_of_images_that_are_not_square_too() -> None:
    images = np.arange(1, 41)[:, None, None, None] * np.ones((1, 8, 32, 1), np.float32)
    layer = CutMix()
    outputs = keras.ops.convert_to_numpy(layer(images, training=True))
    np.testing.assert_allclose((outputs == images).mean(axis=(1, 2, 3)), shares(layer, images.shape), atol=1e-6)


def test_an_image_alone_in_its_batch_stays_as_it_is() -> None:
    for mixing in MIXINGS.values():
        np.testing.assert_allclose(mixing()(IMAGES[:1], training=True), IMAGES[:1], rtol=1e-6)


@pytest.mark.parametrize(("how", "classes"), [("mixup", 2), ("cutmix", 2), ("mixup", 3), ("cutmix", 3)])
def test_the_loss_is_that_of_both_labels_by_their_shares(how: str, classes: int) -> None:
    keras.utils.set_random_seed(3)
    model = DeepSpace((8, 8, 3), classes).build(hyperparameters(mixing=how, label_smoothing=0.1))
    labels = np.arange(12) % classes
    predicted = model(IMAGES, training=True)
    kept = shares(MIXINGS[how](), IMAGES.shape)[:, None]
    chances = keras.ops.convert_to_numpy(predicted)
    every = chances if classes > 2 else np.concatenate([1 - chances, chances], axis=1)
    wanted = np.eye(classes)[labels] * kept + np.eye(classes)[np.roll(labels, 1)] * (1 - kept)
    by_hand = -(np.log(every) * (0.9 * wanted + 0.1 / classes)).sum(axis=1).mean()
    assert float(model.compute_loss(IMAGES, labels, predicted)) == pytest.approx(by_hand, rel=1e-4)
    twice = model.compute_loss(IMAGES, labels, predicted, np.full(12, 2.0, np.float32))
    assert float(twice) == pytest.approx(2 * by_hand, rel=1e-4)


def test_a_model_that_predicts_or_is_validated_mixes_nothing() -> None:
    for mixing in MIXINGS.values():
        np.testing.assert_array_equal(mixing()(IMAGES, training=False), IMAGES)
    model = DeepSpace((8, 8, 3)).build(hyperparameters(mixing="mixup"))
    assert isinstance(model, MixedModel)
    model(IMAGES, training=True)
    labels = np.arange(12) % 2
    predicted = keras.ops.convert_to_numpy(model(IMAGES, training=False))[:, 0]
    by_hand = -np.log(np.where(labels == 1, predicted, 1 - predicted)).mean()
    assert model.evaluate(IMAGES, labels, verbose=0)[0] == pytest.approx(by_hand, rel=1e-3)
