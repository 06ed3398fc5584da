"""The networks of bench/confirm.py learn, and its searches choose as search.confirm does."""

import numpy as np

from bench import confirm


def test_repetitions_choose_better_if_scores_are_noise_and_equally_if_there_is_none() -> None:
    rng = np.random.default_rng(0)
    truth = np.linspace(0.8, 0.9, confirm.CONFIGURATIONS)
    noise = rng.normal(0, 0.05, (confirm.CONFIGURATIONS, confirm.SEEDS, len(confirm.VALIDATION)))
    test = np.repeat(truth[:, None], confirm.SEEDS, axis=1)
    noisy = {row["way"]: row["regret"] for row in confirm.draw(test[:, :, None] + noise, test, searches=300)[:3]}
    assert float(str(noisy["confirm"])) < float(str(noisy["single"]))
    exact = confirm.draw(test[:, :, None] + 0 * noise, test, searches=20)
    assert [row["regret"] for row in exact if row["way"] != "more trials"] == [0] * 6


def test_the_gradients_are_those_of_the_mean_cross_entropy() -> None:
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(2, 4, 5)), rng.normal(size=(2, 6, 10))]
    inputs, labels = rng.normal(size=(2, 7, 3)), rng.integers(10, size=(2, 7))

    def loss(of: list[np.ndarray]) -> np.ndarray:
        logits = confirm._outputs(of, inputs)[-1]
        logits = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
        return np.asarray(-np.take_along_axis(logits, labels[:, :, None], axis=2).mean(axis=(1, 2)))

    for layer, gradient in enumerate(confirm._gradients(weights, inputs, labels)):
        moved = [each.copy() for each in weights]
        moved[layer][:, 1, 2] += 1e-6
        assert np.allclose((loss(moved) - loss(weights)) / 1e-6, gradient[:, 1, 2], atol=1e-4)
