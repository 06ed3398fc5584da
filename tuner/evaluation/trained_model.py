"""Loads a model that a study has trained, together with the layers that the study's own code defines."""

from pathlib import Path
from typing import Any

from tuner import names
from tuner.bucket import Bucket
from tuner.config.settings import Study
from tuner.data.manifest import read_manifest
from tuner.errors import SpaceError
from tuner.evaluation import saved_model
from tuner.spaces import load_space_for
from tuner.spaces.arguments import DataFacts
from tuner.study.state import StudyState
from tuner.temporary_files import temporary_folder


def data_facts(bucket: Bucket, state: StudyState) -> DataFacts | None:
    """Return the shape of the study's images and the number of classes; None if its space has its own data.

    Raises BucketError if the data set is missing.
    """
    if state.data_digest == names.OWN_DATA:
        return None
    manifest = read_manifest(bucket, state.data_digest)
    return DataFacts(manifest.image_shape, len(manifest.classes))


def load_trained_model(bucket: Bucket, name: str, study: Study, facts: DataFacts | None) -> Any:
    """Return the Keras model in the object `name`, for predictions: it is not compiled.

    Args:
        bucket: The study's bucket.
        name: A checkpoint, or the best model of the evaluation.
        study: The study's settings, which name the code of its layers.
        facts: The images for which the model was built; None if the space has its own data.

    Raises:
        SpaceError: Keras cannot load the model, for example because the code of its layers is not on this machine.
        BucketError: The object is missing or damaged.
    """
    with temporary_folder() as folder:
        path = Path(folder, "model.keras")
        bucket.download(name, path)
        no_space = ""
        try:  # registers a user's own layers
            load_space_for(study.space, facts)
        except SpaceError as error:  # the code may be missing here, and is not needed for Keras's own layers
            no_space = str(error)
        try:
            return saved_model.load_model(path, f"{bucket.url}: {name}")
        except SpaceError as error:
            raise SpaceError(f"{error} {no_space}".strip()) from error
