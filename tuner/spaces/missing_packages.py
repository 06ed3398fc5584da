"""Explains an import that fails in a user's code, and names the package to install."""

import sys

PACKAGES = {
    "PIL": "pillow",
    "attr": "attrs",
    "cv2": "opencv-python-headless",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "tensorflow_addons": "tensorflow-addons",
    "tensorflow_hub": "tensorflow-hub",
    "yaml": "PyYAML",
}
"""Packages whose name differs from the name of their module."""


def missing_module(error: BaseException) -> str | None:
    """Return the top-level module that an import did not find; None for any other error."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None
    top = error.name.partition(".")[0]
    return None if sys.modules.get(top) is not None else top  # an installed package may lack a submodule


def how_to_install(module: str) -> str:
    """Return the sentence that says how to make a module available."""
    return (
        f"Install it where chief, workers and evaluator run (pip install {PACKAGES.get(module, module)}; on Kubernetes "
        "in the image), or add it to the folder space.code if it is a module of your own."
    )
