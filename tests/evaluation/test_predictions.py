"""predictions.csv.gz: everything can be recomputed from it, and it is small and repeatable."""

import csv
import gzip
import io

import numpy as np
import pytest

from tuner.evaluation import scores
from tuner.evaluation.predictions import predictions, to_csv_gz
from tuner.evaluation.saved_model import class_probabilities

CLASSES = ("FAKE", "REAL")


def read(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(gzip.decompress(data).decode())))


@pytest.mark.parametrize("outputs", [1, 2])
def test_accuracy_and_roc_auc_follow_exactly_from_the_file(outputs: int) -> None:
    rng = np.random.default_rng(0)
    n = 5000
    labels = rng.integers(0, 2, n)
    second = (1 / (1 + np.exp(-(5 * rng.standard_normal(n) + 8 * (labels - 0.5))))).astype(np.float32)  # many near 0
    answers = second[:, None] if outputs == 1 else np.stack([1 - second, second], axis=1)
    result = predictions(class_probabilities(answers, 2))
    rows = read(to_csv_gz([f"{i}.jpg" for i in range(n)], labels, result, CLASSES))

    assert [row["label"] for row in rows] == [CLASSES[label] for label in labels]
    accuracy = np.mean([row["label"] == row["prediction"] for row in rows])
    assert accuracy == (result.predicted == labels).mean()
    probability = np.array([float(row["probability"]) for row in rows])
    assert (probability >= 0.5).all()
    score = np.where([row["prediction"] == "REAL" for row in rows], probability, 1 - probability)
    assert scores.roc_auc(labels, np.stack([1 - score, score], axis=1)) == scores.roc_auc(labels, result.by_class)
    assert scores.roc_auc(labels, result.by_class) == pytest.approx(
        scores.roc_auc(labels, np.stack([1 - second, second], axis=1).astype(np.float64)),
        abs=1e-9 if outputs == 1 else 1e-3,
    )


def test_a_half_is_the_first_class_as_in_keras() -> None:
    result = predictions(class_probabilities(np.array([[0.5], [np.nextafter(np.float32(0.5), np.float32(1))]]), 2))
    assert result.predicted.tolist() == [0, 1]


def test_of_many_classes_the_likeliest_is_predicted_with_its_own_probability() -> None:
    result = predictions(np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]]))
    assert result.predicted.tolist() == [1, 0]
    assert result.probability.tolist() == [0.5, 0.4]


def test_20_000_images_are_under_1_mib_and_the_same_bytes_every_time() -> None:
    rng = np.random.default_rng(0)
    result = predictions(class_probabilities(rng.random((20_000, 1), dtype=np.float32), 2))
    names = [f"test/REAL/{i % 1000:04d} ({i // 1000}).jpg" for i in range(20_000)]
    labels = rng.integers(0, 2, 20_000)
    data = to_csv_gz(names, labels, result, CLASSES)
    assert len(data) < 2**20
    assert data == to_csv_gz(names, labels, result, CLASSES)
    assert data[4:8] == bytes(4), "gzip's time stamp"


def test_names_with_commas_quotes_and_umlauts_survive() -> None:
    names = ['a,"b".png', "Müller\n.png"]
    result = predictions(np.array([[0.9, 0.1], [0.1, 0.9]]))
    assert [row["name"] for row in read(to_csv_gz(names, np.array([0, 1]), result, CLASSES))] == names
