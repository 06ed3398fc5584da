"""The settings of the data set: the section `data` of study.yaml."""

import json
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from tuner.config.section import Positive, Settings, Text

MAX_SIDE = 4096
MIN_FRACTION = 1e-6
Side = Annotated[int, Field(ge=1, le=4096)]
"""Height or width of an image, in pixels."""


class Columns(Settings):
    """The columns of the file `data.labels`, by name or by number from 1. What is not set is inferred and reported."""

    image: Text | None = None
    """Column of the images' paths, which are relative to the CSV file or the source. Default: the column whose values
    are files of the source."""

    label: Text | None = None
    """Column of the classes. Default: the column with a name such as `label` or `class`, or the only other column."""

    split: Text | None = None
    """Column of the splits (train, val, test). Default: the column with a name such as `split`, or whose values are all
    names of splits, if there is one."""


class Data(Settings):
    """The data set."""

    source: Text | None = None
    """Path of a folder, zip or tar archive, a `gs://`, `s3://` or `az://` URL, or the digest of a data set that the
    bucket contains. The data is packed into the bucket unless the bucket already contains it. Default: the data set
    that the study began with, else the only data set of the bucket, else the built-in sample."""

    resize: tuple[Side, Side] | None = None
    """Height and width to which all images are resized, such as `[224, 224]`. Default: not set, so that all images must
    have the same size."""

    convert: bool = False
    """Whether greyscale (also 16-bit), palette, transparent and CMYK images are converted to 8-bit RGB.
    Default: false, so that they are refused, because most data sets have none of them on purpose."""

    test: Annotated[float, Field(ge=MIN_FRACTION, lt=1)] = 0.2
    """Fraction of the images of each class that become test images if the source has no test split. Exact duplicates
    stay on one side."""

    test_seed: Annotated[int, Field(ge=1, le=2**31 - 1)] = 1
    """Seed that selects these test images. It does not depend on `seed`, so that studies with different seeds have the
    same test images."""

    labels: Text | None = None
    """Path of a CSV file, in the source or on this machine, with the label of each image. Default: not set, so that the
    folders are the classes."""

    columns: Columns = Columns()
    """Columns of the CSV file."""

    validation: Annotated[float, Field(ge=MIN_FRACTION, lt=1)] = 0.1
    """Fraction of the training images that is held out, stratified by class, to compare trials. A source with a
    validation split has its own validation images, and this setting has no effect. Default: 0.1, which
    is 10,000 images of CIFAKE. The standard error of their accuracy, 0.3 %, is small compared with the differences
    between trials."""

    validation_seed: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """Seed that selects the validation images. Default: the study's `seed`. Set it to compare studies with different
    seeds on the same validation images."""

    batch_size: Positive = 128
    """Number of images per training step."""

    own: bool = False
    """Whether the space brings its own data: its method `data(self, part)` returns the data, and nothing is packed.
    If true, only two settings of this section have an effect: `batch_size` (for arrays) and `validation_seed` (which
    seeds NumPy, Python and Keras before each call of `data`). Default: false, so that the space trains on images."""

    @field_validator("resize", mode="before")
    @classmethod
    def _two_sides(cls, value: Any) -> Any:
        """Return a list as a tuple, and replace pydantic's errors, one for each item, by a single sentence."""
        if value is None:
            return None
        is_pair = isinstance(value, list | tuple) and len(value) == 2
        if not is_pair or not all(type(side) is int and 1 <= side <= MAX_SIDE for side in value):
            raise ValueError(
                f"must be [HEIGHT, WIDTH], two whole numbers of pixels from 1 to {MAX_SIDE}, got {json.dumps(value)}"
            )
        return tuple(value)

    @model_validator(mode="after")
    def _own_without_images(self) -> "Data":
        """Refuse settings of images for a space that brings its own data, because they would have no effect."""
        fields = type(self).model_fields
        useless = [
            f"data.{name}"
            for name in fields.keys() - {"own", "batch_size", "validation_seed"}
            if self.own and getattr(self, name) != fields[name].default
        ]
        if useless:
            raise ValueError(
                f"data.own says that the space brings its own data, so {' and '.join(sorted(useless))} would have no "
                "effect. Remove one of them (`--data` sets data.source)"
            )
        return self
