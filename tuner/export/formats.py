"""The formats of `export model`, and the packages that they need."""

from enum import StrEnum
from importlib.util import find_spec

from tuner.errors import ConfigError


class ModelFormat(StrEnum):
    """A format of `export model`."""

    SAVED_MODEL = "saved_model"
    ONNX = "onnx"
    LITERT = "litert"
    OPENVINO = "openvino"

    @property
    def keras_name(self) -> str:
        """What `model.export` calls the format."""
        return "tf_saved_model" if self is ModelFormat.SAVED_MODEL else self.value

    @property
    def file(self) -> str:
        """Name of the exported file or, of a SavedModel, of the folder."""
        return {"saved_model": "model", "onnx": "model.onnx", "litert": "model.tflite", "openvino": "model.xml"}[self]


PACKAGES = {
    ModelFormat.SAVED_MODEL: ("tensorflow",),
    ModelFormat.ONNX: ("tensorflow", "tf2onnx", "onnxruntime"),
    ModelFormat.LITERT: ("tensorflow", "ai_edge_litert"),
    ModelFormat.OPENVINO: ("tensorflow", "openvino"),
}
"""What writing and checking a format imports."""


def require_packages(output: ModelFormat, backend: str) -> None:
    """Raise ConfigError if a package that the format needs is not installed, or if Keras has another backend."""
    for package in PACKAGES[output]:
        if find_spec(package) is None:
            distribution = package.replace("_", "-")
            raise ConfigError(
                f"--format {output} needs the package {distribution}, which is not installed. Install it with pip "
                f"install {distribution}."
            )
    if backend != "tensorflow":
        raise ConfigError(f"--format {output} needs TensorFlow as the backend. Set KERAS_BACKEND to tensorflow.")
