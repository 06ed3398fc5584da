"""Options of `run`, `data pack` and `data check` that say how images are packed, and the settings they stand for."""

import json
import re
from typing import Annotated

import typer

from tuner.errors import ConfigError

ResizeOption = Annotated[
    str | None,
    typer.Option(
        "--resize", metavar="HxW", help="Resize all images to this height and width, such as 224x224 (data.resize)."
    ),
]
ConvertOption = Annotated[
    bool,
    typer.Option(
        "--convert", help="Convert greyscale, palette, transparent, CMYK and 16-bit images to RGB (data.convert)."
    ),
]
LabelsOption = Annotated[
    str | None,
    typer.Option("--labels", metavar="CSV", help="CSV file with the label of each image (data.labels)."),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="IMAGE,LABEL[,SPLIT]",
        help="Columns of the CSV file, by name or number. Default: inferred and reported (data.columns).",
    ),
]
TestOption = Annotated[
    float | None,
    typer.Option(
        "--test",
        help="Fraction of the images that become test images if the source has none. Default: 0.2 (data.test).",
    ),
]


def packing_settings(
    resize: str | None, convert: bool, labels: str | None, columns: str | None, test: float | None
) -> list[str]:
    """Return the options as arguments of `--set`. Raises ConfigError."""
    from tuner.config.data_settings import MIN_FRACTION

    settings = []
    if resize is not None:
        settings.append(f"data.resize={json.dumps(_size(resize))}")
    if convert:
        settings.append("data.convert=true")
    if labels is not None:
        if not labels.strip():
            raise ConfigError("--labels must be the path of a CSV file, got an empty text.")
        settings.append(f"data.labels={json.dumps(labels)}")
    if columns is not None:
        settings += [
            f"data.columns.{name}={json.dumps(column)}"
            for name, column in zip(("image", "label", "split"), _columns(columns), strict=False)
        ]
    if test is not None:
        if not MIN_FRACTION <= test < 1:
            raise ConfigError(f"--test must be a fraction between 0 and 1, such as 0.2, got {test:g}.")
        settings.append(f"data.test={test!r}")
    return settings


def _size(text: str) -> list[int]:
    from tuner.config.data_settings import MAX_SIDE

    match = re.fullmatch(r"([0-9]{1,5})[xX]([0-9]{1,5})", text.strip())
    sides = [int(side) for side in match.groups()] if match else []
    if not sides or not all(1 <= side <= MAX_SIDE for side in sides):
        raise ConfigError(
            f"--resize must be HEIGHTxWIDTH in pixels, such as 32x32, from 1x1 to {MAX_SIDE}x{MAX_SIDE}, got "
            f"{text!r:.60}."
        )
    return sides


def _columns(text: str) -> list[str]:
    columns = [column.strip() for column in text.split(",")]
    if not 2 <= len(columns) <= 3 or not all(columns):
        raise ConfigError(f"--columns must be IMAGE,LABEL or IMAGE,LABEL,SPLIT, such as file,label, got {text!r:.60}.")
    return columns
