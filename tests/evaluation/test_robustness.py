"""Disturbances, the robustness card, and objects of CIFAKE's names."""

import io

import numpy as np
import pytest
from PIL import Image

from tuner.data.arrays import Arrays
from tuner.evaluation.corruptions import CORRUPTIONS
from tuner.evaluation.robustness import robustness
from tuner.evaluation.subgroups import OBJECTS, by_object, objects_of
from tuner.report.sprites import cut, sheet


def photographs(images: int, side: int = 32) -> np.ndarray:
    """Smooth gradients with texture: what JPEG is made for."""
    rng = np.random.default_rng(0)
    ramps = np.linspace(0, 255, side)[None, :, None, None] * rng.random((images, 1, side, 3))
    return (ramps + rng.normal(0, 12, (images, side, side, 3))).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.name)
@pytest.mark.parametrize("side", [8, 32])
def test_a_disturbance_keeps_the_shape_and_what_the_image_shows(corruption: object, side: int) -> None:
    images = photographs(5, side)
    corrupted = corruption.apply(images, np.random.default_rng(1))  # type: ignore[attr-defined]
    assert (corrupted.shape, corrupted.dtype) == (images.shape, np.uint8)
    name = corruption.name  # type: ignore[attr-defined]
    undone = {"flip left-right": corrupted[:, :, ::-1], "flip upside down": corrupted[:, ::-1]}.get(name, corrupted)
    difference = np.abs(undone.astype(int) - images).mean()
    assert difference == 0 if name == "none" or name.startswith("flip") else 0.5 < difference < 40


def test_stronger_compression_loses_more() -> None:
    images = photographs(20)
    lost = {
        corruption.name: np.abs(corruption.apply(images, np.random.default_rng(1)).astype(int) - images).mean()
        for corruption in CORRUPTIONS
    }
    assert lost["JPEG 90"] < lost["JPEG 75"] < lost["JPEG 50"]


def test_the_card_tells_what_a_disturbance_costs_a_model_that_looks_left() -> None:
    rng = np.random.default_rng(0)
    images = np.zeros((400, 8, 8, 3), np.uint8)
    labels = np.repeat(np.array([0, 1], np.uint8), 200)
    images[:200, :, :4], images[200:, :, 4:] = 200, 200  # class 0 is bright on the left

    def looks_left(pixels: np.ndarray) -> np.ndarray:
        return (pixels[:, :, :4].mean(axis=(1, 2, 3)) < 100).astype(np.intp)

    progress: list[tuple[int, int]] = []
    card = robustness(
        Arrays(images, labels), ("left", "right"), 100, int(rng.integers(99)), looks_left,
        lambda done, of: progress.append((done, of)),
    )  # fmt: skip
    by_name = {row.disturbance: row for row in card.numbers.disturbances}
    assert card.numbers.images == 100
    assert by_name["none"].accuracy == by_name["flip upside down"].accuracy == by_name["JPEG 50"].accuracy == 1
    assert by_name["flip left-right"].accuracy == 0
    assert by_name["flip left-right"].changed == 1
    assert by_name["flip left-right"].recall == {"left": 0, "right": 0}
    assert card.samples.shape == (2, len(CORRUPTIONS), 8, 8, 3)
    assert progress[-1] == (len(CORRUPTIONS), len(CORRUPTIONS))


def test_which_object_an_image_shows_is_in_its_name() -> None:
    names = [f"{label}/{n:04d}{suffix}.jpg" for label in ("FAKE", "REAL") for n in range(2) for suffix in SUFFIXES]
    indices = objects_of(names, ("FAKE", "REAL"))
    assert indices is not None
    assert [OBJECTS[index] for index in indices[:10]] == list(OBJECTS)
    labels = np.repeat([0, 1], 20)
    right = np.array([object_ != 5 or label == 1 for object_, label in zip(indices, labels, strict=True)])
    scores = by_object(names, labels, right, ("FAKE", "REAL"))
    assert scores is not None
    dog = next(score for score in scores if score.name == "dog")
    assert (dog.images, dog.accuracy, dog.accuracy_by_class) == (4, 0.5, {"FAKE": 0.0, "REAL": 1.0})
    assert {score.accuracy for score in scores if score.name != "dog"} == {1.0}


SUFFIXES = ("", *(f" ({number})" for number in range(2, 11)))


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        ([f"FAKE/0001{suffix}.jpg" for suffix in SUFFIXES], ("cats", "dogs")),
        ([*(f"FAKE/0001{suffix}.jpg" for suffix in SUFFIXES), "FAKE/holiday.jpg"], ("FAKE", "REAL")),
        ([f"FAKE/0001{suffix}.jpg" for suffix in (*SUFFIXES, " (11)")], ("FAKE", "REAL")),
        ([f"FAKE/{number:04d}.jpg" for number in range(20)], ("FAKE", "REAL")),
    ],
    ids=["other classes", "another name", "a suffix too many", "no suffixes at all"],
)
def test_other_names_say_nothing_of_objects(names: list[str], classes: tuple[str, ...]) -> None:
    assert objects_of(names, classes) is None


@pytest.mark.parametrize("images", [0, 1, 8, 11])
def test_a_sheet_is_cut_into_the_images_it_was_made_of(images: int) -> None:
    originals = photographs(images, 16)
    tiles = cut(sheet(originals), images)
    assert len(tiles) == images
    for image, tile in zip(originals, tiles, strict=True):
        np.testing.assert_array_equal(image, np.asarray(Image.open(io.BytesIO(tile))))
