"""mixup and CutMix: what becomes of images, what of the loss, and that nothing does when a model predicts."""

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.spaces.deep_trials import hyperparameters
from tuner.spaces.deep import DeepSpace
from tuner.spaces.mixing import MixedModel, Mixing

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3)).astype(np.float32)
BEFORE = np.roll(IMAGES, 1, axis=0)


def mixed(how: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    layer = Mixing(how)
    found = layer(IMAGES, training=True)
    return keras.ops.convert_to_numpy(found), keras.ops.convert_to_numpy(layer.kept(IMAGES.shape))


@pytest.mark.parametrize("how", ["mixup", "cutmix"])
def test_the_images_of_a_batch_keep_shares_spread_from_a_half_to_one(how: str) -> None:
    kept = np.sort(mixed(how)[1])
    assert kept[0] == pytest.approx(0.5, abs=0.1)
    assert kept[-1] == pytest.approx(1, abs=0.1)
    assert np.diff(kept).max() < 0.2
    assert kept.mean() == pytest.approx(0.75, abs=0.03)


def test_mixup_adds_the_image_before() -> None:
    found, kept = mixed("mixup")
    shares = kept[:, None, None, None]
    np.testing.assert_allclose(found, shares * IMAGES + (1 - shares) * BEFORE, atol=1e-3)


def test_cutmix_lays_a_square_of_the_image_before_over_each_anywhere() -> None:
    keras.utils.set_random_seed(2)
    places = set()
    for _ in range(20):
        found, kept = mixed("cutmix")
        own = (found == IMAGES).all(axis=-1)
        np.testing.assert_array_equal(np.where(own[..., None], IMAGES, BEFORE), found)
        covered = ~own
        sides = np.sqrt(64 * (1 - kept))
        np.testing.assert_allclose(covered.any(axis=2).sum(axis=1), sides, atol=1e-3)
        np.testing.assert_allclose(covered.any(axis=1).sum(axis=1), sides, atol=1e-3)
        np.testing.assert_allclose(covered.sum(axis=(1, 2)), sides**2, atol=1e-3)
        places.add(covered[5].tobytes())
    assert len(places) > 12


@pytest.mark.parametrize(("how", "classes"), [("mixup", 2), ("cutmix", 2), ("mixup", 3), ("cutmix", 3)])
def test_the_loss_is_that_of_both_labels_by_their_shares(how: str, classes: int) -> None:
    keras.utils.set_random_seed(3)
    model = DeepSpace((8, 8, 3), classes).build(hyperparameters(mixing=how, label_smoothing=0.1))
    labels = np.arange(12) % classes
    predicted = model(IMAGES, training=True)
    mixing = next(layer for layer in model.layers if isinstance(layer, Mixing))
    kept = keras.ops.convert_to_numpy(mixing.kept(IMAGES.shape))[:, None]
    chances = keras.ops.convert_to_numpy(predicted)
    every = chances if classes > 2 else np.concatenate([1 - chances, chances], axis=1)
    wanted = np.eye(classes)[labels] * kept + np.eye(classes)[np.roll(labels, 1)] * (1 - kept)
    by_hand = -(np.log(every) * (0.9 * wanted + 0.1 / classes)).sum(axis=1).mean()
    assert float(model.compute_loss(IMAGES, labels, predicted)) == pytest.approx(by_hand, rel=1e-4)


def test_a_model_that_predicts_or_is_validated_mixes_nothing() -> None:
    np.testing.assert_array_equal(Mixing("mixup")(IMAGES, training=False), IMAGES)
    model = DeepSpace((8, 8, 3)).build(hyperparameters(mixing="mixup"))
    assert isinstance(model, MixedModel)
    model(IMAGES, training=True)
    labels = np.arange(12) % 2
    predicted = keras.ops.convert_to_numpy(model(IMAGES, training=False))[:, 0]
    by_hand = -np.log(np.where(labels == 1, predicted, 1 - predicted)).mean()
    assert model.evaluate(IMAGES, labels, verbose=0)[0] == pytest.approx(by_hand, rel=1e-3)
