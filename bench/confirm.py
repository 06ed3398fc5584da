"""Measures when search.confirm pays: how good the chosen hyperparameters are with it, without it, and with more trials.

Small networks of dense layers are trained on scikit-learn's digits: CONFIGURATIONS random choices of hyperparameters,
each with SEEDS seeds. Searches are then drawn from these trainings. In a search of TRIALS trials, each has one seed,
and its score is the accuracy on few validation images. Three ways to choose are compared:

- single: the trial with the best score.
- confirm: the best BEST trials are trained again with REPEATED seeds, and the best mean of these decides.
- more trials: the trial with the best score in a search that has as many trainings as with confirm.

The truth about a choice of hyperparameters is its mean accuracy on the test images, over seeds that no search draws.
All models share the validation images, whose luck other seeds cannot undo.

    nice -n 15 python -m bench.confirm             # train (a minute of a core), write results/confirm.json
    python -m bench.confirm --again                # draw searches again from the trainings in that file
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RESULT = Path(__file__).parent / "results" / "confirm.json"
CONFIGURATIONS, SEEDS, DRAWN = 32, 48, 24
"""Number of configurations, of seeds of each, and of those seeds from which searches are drawn."""
TRIALS, BEST, REPEATED = 20, 3, 3
TRAINING, VALIDATION, EPOCHS = 400, (50, 100, 400), 10
"""Number of training images, numbers of validation images that are compared, and number of epochs."""
SEARCHES = 20_000

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Configuration:
    """One choice of hyperparameters."""

    units: int
    layers: int
    learning_rate: float
    batch_size: int


def train() -> tuple[Scores, Scores]:
    """Return the validation accuracies (configuration, seed, number of images) and test accuracies of all trainings."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(1)
    order = rng.permutation(len(labels))
    images, labels = images[order] / 16, labels[order]
    first_test = TRAINING + max(VALIDATION)
    validation, test = np.zeros((CONFIGURATIONS, SEEDS, len(VALIDATION))), np.zeros((CONFIGURATIONS, SEEDS))
    for number in range(CONFIGURATIONS):
        chosen = Configuration(
            units=int(rng.choice([16, 32, 64])),
            layers=int(rng.choice([1, 2])),
            learning_rate=float(10 ** rng.uniform(-2.4, -1.5)),
            batch_size=int(rng.choice([40, 80])),
        )
        predicted = _predictions(chosen, images[:TRAINING], labels[:TRAINING], images)
        right = predicted == labels
        for index, count in enumerate(VALIDATION):
            validation[number, :, index] = right[:, TRAINING : TRAINING + count].mean(axis=1)
        test[number] = right[:, first_test:].mean(axis=1)
        print(number, chosen, round(float(test[number].mean()), 4), flush=True)
    return validation, test


def _predictions(chosen: Configuration, images: Scores, labels: NDArray[np.int64], all_images: Scores) -> Scores:
    """Train SEEDS networks at once with Adam, and return the predictions of each for all images."""
    streams = [np.random.default_rng((2, seed)) for seed in range(SEEDS)]
    sizes = [images.shape[1], *[chosen.units] * chosen.layers, 10]
    weights = [
        np.stack([rng.normal(0, np.sqrt(2 / one), (one + 1, other)) for rng in streams])
        for one, other in pairwise(sizes)
    ]
    means, squares = [np.zeros_like(each) for each in weights], [np.zeros_like(each) for each in weights]
    step = 0
    for _ in range(EPOCHS):
        order = np.stack([rng.permutation(len(images)) for rng in streams])
        for first in range(0, len(images), chosen.batch_size):
            batch, step = order[:, first : first + chosen.batch_size], step + 1
            for index, gradient in enumerate(_gradients(weights, images[batch], labels[batch])):
                means[index] = 0.9 * means[index] + 0.1 * gradient
                squares[index] = 0.999 * squares[index] + 0.001 * gradient**2
                size = np.sqrt(squares[index] / (1 - 0.999**step)) + 1e-7
                weights[index] = weights[index] - chosen.learning_rate * means[index] / (1 - 0.9**step) / size
    everything = np.broadcast_to(all_images, (SEEDS, *all_images.shape))
    return np.asarray(_outputs(weights, everything)[-1].argmax(axis=2))


def _outputs(weights: list[Scores], inputs: Scores) -> list[Scores]:
    """Return the inputs of all layers, each with a column of ones, and the logits."""
    ones = np.ones((*inputs.shape[:2], 1))
    outputs = [np.concatenate([inputs, ones], axis=2)]
    for layer in weights[:-1]:
        outputs.append(np.concatenate([np.maximum(outputs[-1] @ layer, 0), ones], axis=2))
    return [*outputs, outputs[-1] @ weights[-1]]


def _gradients(weights: list[Scores], inputs: Scores, labels: NDArray[np.int64]) -> list[Scores]:
    """Return the gradients of the mean cross-entropy, for each network (the first axis) on its own batch."""
    *before, logits = _outputs(weights, inputs)
    raised = np.exp(logits - logits.max(axis=2, keepdims=True))
    error = (raised / raised.sum(axis=2, keepdims=True) - np.eye(10)[labels]) / labels.shape[1]
    gradients: list[Scores] = []
    for index in reversed(range(len(weights))):
        gradients.insert(0, before[index].transpose(0, 2, 1) @ error)
        error = (error @ weights[index].transpose(0, 2, 1))[:, :, :-1] * (before[index][:, :, :-1] > 0)
    return gradients


def draw(validation: Scores, test: Scores, searches: int = SEARCHES) -> list[dict[str, object]]:
    """Return a row for each number of validation images and each way to choose."""
    truth = test[:, DRAWN:].mean(axis=1)
    rows: list[dict[str, object]] = []
    for index, images in enumerate(VALIDATION):
        scores = validation[:, :DRAWN, index]
        ways: dict[str, Callable[[np.random.Generator], tuple[int, float]]] = {
            "single": lambda rng, scores=scores: _single(scores, truth, TRIALS, rng),  # type: ignore[misc]
            "confirm": lambda rng, scores=scores: _confirm(scores, truth, rng),  # type: ignore[misc]
            "more trials": lambda rng, scores=scores: _single(scores, truth, TRIALS + BEST * REPEATED, rng),  # type: ignore[misc]
        }
        deviation = float(np.sqrt(scores.var(axis=1, ddof=1).mean()))
        for way, choose in ways.items():
            rng = np.random.default_rng(1)
            chosen = [choose(rng) for _ in range(searches)]
            found = np.array([truth[each] for each, _ in chosen])
            regret = np.array([best for _, best in chosen]) - found
            rows.append(
                {
                    "validation_images": images,
                    "way": way,
                    "deviation_of_seeds": round(deviation, 4),
                    "picks_the_best": round(float((regret == 0).mean()), 3),
                    "regret": round(float(regret.mean()), 5),
                    "test_accuracy": round(float(found.mean()), 5),
                    "standard_error": round(float(found.std(ddof=1) / np.sqrt(searches)), 6),
                }
            )
    return rows


def _single(scores: Scores, truth: Scores, trials: int, rng: np.random.Generator) -> tuple[int, float]:
    """Return the trial with the best score, and the truth about the best trial of the search."""
    searched = rng.choice(CONFIGURATIONS, trials, replace=False)
    found = scores[searched, rng.integers(DRAWN, size=trials)]
    return int(searched[np.argmax(found)]), float(truth[searched].max())


def _confirm(scores: Scores, truth: Scores, rng: np.random.Generator) -> tuple[int, float]:
    """Return the trial with the best mean of its repetitions, and the truth about the best trial of the search."""
    searched, seeds = rng.choice(CONFIGURATIONS, TRIALS, replace=False), rng.integers(DRAWN, size=TRIALS)
    candidates = np.argsort(-scores[searched, seeds], kind="stable")[:BEST]
    means = []
    for candidate in candidates:
        others = rng.choice(np.delete(np.arange(DRAWN), seeds[candidate]), REPEATED, replace=False)
        means.append(scores[searched[candidate], others].mean())
    return int(searched[candidates[int(np.argmax(means))]]), float(truth[searched].max())


def main() -> None:
    """Train or read the trainings, draw searches, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true", help="draw searches from the trainings in the result")
    if parser.parse_args().again:
        recorded = json.loads(RESULT.read_text(encoding="utf-8"))["trainings"]
        validation, test = np.array(recorded["validation"]), np.array(recorded["test"])
    else:
        validation, test = train()
    rows = draw(validation, test)
    settings = {
        "configurations": CONFIGURATIONS, "seeds": SEEDS, "trials": TRIALS, "best": BEST, "repeated": REPEATED,
        "training_images": TRAINING, "searches": SEARCHES,
    }  # fmt: skip
    trainings = {"validation": validation.round(4).tolist(), "test": test.round(4).tolist()}
    result = {"settings": settings, "rows": rows, "trainings": trainings}
    RESULT.write_text(json.dumps(result, separators=(",", ":")) + "\n", encoding="utf-8")
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
