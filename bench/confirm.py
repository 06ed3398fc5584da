"""Measures when search.confirm pays: how good the chosen hyperparameters are with it, without it, and with more trials.

Small networks are trained on scikit-learn's digits: CONFIGURATIONS random choices of hyperparameters, each with SEEDS
seeds. Searches are then drawn from these trainings. In a search of TRIALS trials, each has one seed, and its score is
the accuracy on few validation images. Three ways to choose are compared:

- single: the trial with the best score.
- confirm: the best BEST trials are trained again with REPEATED seeds, and the best mean of these decides.
- more trials: the trial with the best score in a search that has as many trainings as with confirm.

The truth about a choice of hyperparameters is its mean accuracy on the test images, over seeds that no search draws.
All models share the validation images, whose luck other seeds cannot undo.

    nice -n 15 python -m bench.confirm             # train (4 minutes of a core), write results/confirm.json
    python -m bench.confirm --again                # draw searches again from the trainings in that file
"""

import argparse
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RESULT = Path(__file__).parent / "results" / "confirm.json"
CONFIGURATIONS, SEEDS, DRAWN = 32, 32, 16
"""Number of configurations, of seeds of each, and of those seeds from which searches are drawn."""
TRIALS, BEST, REPEATED = 20, 3, 3
TRAINING, VALIDATION = 400, (50, 100, 400)
"""Number of training images, and numbers of validation images that are compared."""
SEARCHES = 20_000

Scores = NDArray[np.float64]


def train() -> tuple[Scores, Scores]:
    """Return the validation accuracies (configuration, seed, number of images) and test accuracies of all trainings."""
    from sklearn.datasets import load_digits
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore", ConvergenceWarning)  # every network is trained for the same number of epochs
    images, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(1)
    order = rng.permutation(len(labels))
    images, labels = images[order] / 16, labels[order]
    first_test = TRAINING + max(VALIDATION)
    validation, test = np.zeros((CONFIGURATIONS, SEEDS, len(VALIDATION))), np.zeros((CONFIGURATIONS, SEEDS))
    for configuration in range(CONFIGURATIONS):
        chosen = {
            "hidden_layer_sizes": (int(rng.choice([16, 32, 64])),) * int(rng.choice([1, 2])),
            "learning_rate_init": float(10 ** rng.uniform(-3, -1.7)),
            "batch_size": int(rng.choice([32, 64])),
            "activation": str(rng.choice(["relu", "tanh"])),
        }
        for seed in range(SEEDS):
            model = MLPClassifier(max_iter=12, random_state=seed, **chosen)
            model.fit(images[:TRAINING], labels[:TRAINING])
            right = model.predict(images[TRAINING:]) == labels[TRAINING:]
            validation[configuration, seed] = [right[:count].mean() for count in VALIDATION]
            test[configuration, seed] = right[first_test - TRAINING :].mean()
        print(configuration, chosen, round(float(test[configuration].mean()), 4), flush=True)
    return validation, test


def draw(validation: Scores, test: Scores) -> list[dict[str, object]]:
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
            chosen = [choose(rng) for _ in range(SEARCHES)]
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
                    "standard_error": round(float(found.std(ddof=1) / np.sqrt(SEARCHES)), 6),
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
