"""Whether settings ask for another packing than that of a data set that is packed already."""

from tuner.config.data_settings import Columns, Data
from tuner.data.manifest import Manifest
from tuner.errors import UsageError

SHOWN_DIGITS = 12


def check_packing(manifest: Manifest, data: Data) -> None:
    """Raise UsageError if the settings ask for another packing than that of the data set.

    As for a source, `data.test` and `data.test_seed` have no effect on a data set whose source had test images.
    """
    made, default = manifest.made_test, Data()
    differs = {
        "resize": data.resize is not None and data.resize != manifest.resize,
        "convert": data.convert and not manifest.convert,
        "test": made is not None and data.test not in (default.test, made.fraction),
        "test_seed": made is not None and data.test_seed not in (default.test_seed, made.seed),
        "labels": data.labels is not None,
        "columns": data.columns != Columns(),
    }
    asked = [f"data.{key}" for key, value in differs.items() if value]
    if asked:
        raise UsageError(
            f"{' and '.join(asked)} cannot be applied to the data set {manifest.digest[:SHOWN_DIGITS]}, which is "
            "packed. Name its source with --data (data.source) to pack it again, or remove the setting."
        )
