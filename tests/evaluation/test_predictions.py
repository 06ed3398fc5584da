"""predictions.csv.gz: everything can be recomputed from it, and it is small and repeatable."""

import csv
import gzip
import hashlib
import io

import numpy as np
import pytest

from tuner.evaluation import scores
from tuner.evaluation.predictions import COLUMNS, predictions, read_csv_gz, to_csv_gz
from tuner.evaluation.saved_model import class_probabilities
from tuner.printable import FORMULA_STARTS

CLASSES = ("FAKE", "REAL")


def read(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(gzip.decompress(data).decode())))


def digests(images: int) -> list[str]:
    return [hashlib.sha256(str(image).encode()).hexdigest() for image in range(images)]


@pytest.mark.parametrize("outputs", [1, 2])
def test_accuracy_and_roc_auc_follow_exactly_from_the_file(outputs: int) -> None:
    rng = np.random.default_rng(0)
    n = 5000
    labels = rng.integers(0, 2, n)
    second = (1 / (1 + np.exp(-(5 * rng.standard_normal(n) + 8 * (labels - 0.5))))).astype(np.float32)  # many near 0
    answers = second[:, None] if outputs == 1 else np.stack([1 - second, second], axis=1)
    result = predictions(class_probabilities(answers, 2))
    rows = read(to_csv_gz([f"{i}.jpg" for i in range(n)], digests(n), labels, result, CLASSES))

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
    data = to_csv_gz(names, digests(20_000), labels, result, CLASSES)
    assert len(data) < 2**20
    assert data == to_csv_gz(names, digests(20_000), labels, result, CLASSES)
    assert data[4:8] == bytes(4), "gzip's time stamp"


def test_names_with_commas_quotes_and_umlauts_survive() -> None:
    names = ['a,"b".png', "Müller.png"]
    result = predictions(np.array([[0.9, 0.1], [0.1, 0.9]]))
    rows = read(to_csv_gz(names, digests(2), np.array([0, 1]), result, CLASSES))
    assert [row["name"] for row in rows] == names


@pytest.mark.parametrize("start", FORMULA_STARTS)
def test_no_name_or_class_is_a_formula_in_a_spreadsheet(start: str) -> None:
    evil = (f"{start}cmd|' C calc'!A0", "b")
    result = predictions(np.array([[0.9, 0.1], [0.9, 0.1]]))
    data = to_csv_gz([f"{evil[0]}/1.png", "b/2.png"], digests(2), np.array([0, 1]), result, evil)
    first, second = read(data)
    assert all(first[column].startswith("'") for column in ("name", "label", "prediction"))
    assert (second["name"], second["label"]) == ("b/2.png", "b")
    assert not any(cell.startswith(FORMULA_STARTS) for row in (first, second) for cell in row.values())
    assert read_csv_gz(data, evil).confusion_matrix() == ((1, 0), (1, 0))


def test_control_characters_are_masked_and_the_digest_still_identifies_the_image() -> None:
    result = predictions(np.array([[0.9, 0.1]]))
    (row,) = read(to_csv_gz(["a\x1b[31m\n\u202e.png"], ["ab" * 32], np.array([0]), result, CLASSES))
    assert row["name"] == "a\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}.png"
    assert row["sha256"] == "ab" * 32


def test_the_digest_is_the_last_column() -> None:
    assert COLUMNS == ("name", "label", "prediction", "probability", "sha256")


def test_a_file_of_a_version_without_digests_is_read() -> None:
    data = gzip.compress(b"name,label,prediction,probability\nFAKE/1.png,FAKE,REAL,0.75\n")
    rows = read_csv_gz(data, CLASSES)
    assert (rows.labels, rows.predicted, rows.probability, rows.sha256) == ((0,), (1,), (0.75,), ())


HEADER = ",".join(COLUMNS)
DAMAGED = {
    "not compressed": (b"name,label", "cannot be unpacked"),
    "cut short": (gzip.compress(b"name" * 99)[:-9], "cannot be unpacked"),
    "other columns": (gzip.compress(b"a,b\n"), "its columns must be name, label"),
    "another class": (gzip.compress(f"{HEADER}\na,FAKE,CAT,0.5,\n".encode()), "row 2 has a class"),
    "no number": (gzip.compress(f"{HEADER}\na,FAKE,FAKE,x,\n".encode()), "row 2 must have a probability from 0 to 1"),
    "NaN": (gzip.compress(f"{HEADER}\na,FAKE,FAKE,nan,\n".encode()), "row 2 must have a probability from 0 to 1"),
    "above 1": (gzip.compress(f"{HEADER}\na,FAKE,FAKE,1.5,\n".encode()), "row 2 must have a probability from 0 to 1"),
    "too few columns": (gzip.compress(f"{HEADER}\na,FAKE\n".encode()), "row 2 has 2 columns instead of 5"),
    "not UTF-8": (gzip.compress(f"{HEADER}\n".encode() + b"\xff"), "can't decode"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_refused_with_the_reason(damage: str) -> None:
    data, says = DAMAGED[damage]
    with pytest.raises(ValueError, match=says):
        read_csv_gz(data, CLASSES)
