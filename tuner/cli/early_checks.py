"""Checks of the bucket by `chief`, `worker` and `evaluate` before they import Keras or begin their work.

With these checks, a mistake is reported within a second. Importing TensorFlow costs 6 s of CPU time. The commands
repeat all checks later.
"""

import logging

from tuner import names
from tuner.bucket import Bucket
from tuner.config.loading import Loaded, dump, overriding, parse
from tuner.config.settings import Study
from tuner.data.manifest import check_data_set, find_data_set, read_manifest
from tuner.data.packed import check_packing
from tuner.errors import EnvironmentFailure
from tuner.evaluator.run import evaluated
from tuner.spaces.versions import space_version
from tuner.study.compatibility import check_unchanged
from tuner.study.journal import JournalReader, read_study

log = logging.getLogger(__name__)


def check_chief_data(bucket: Bucket, study: Study, digest: str | None) -> None:
    """Check that the bucket has the data set that a chief needs: `digest`, the study's own, or the bucket's only one.

    The data set may be missing if the search has finished, because the chief then reads no data. A study that begins
    without a source must not ask for another packing. Raises UsageError, DataError, BucketError.
    """
    recorded = recorded_data(bucket, study)
    chosen = find_data_set(bucket, digest or recorded)
    if bucket.exists(names.manifest(chosen)):
        if recorded is None and study.data.source is None:
            check_packing(read_manifest(bucket, chosen), study.data)
        return
    reader = JournalReader(bucket, study.name)
    reader.poll()
    if reader.state.finished is None:
        check_data_set(bucket, chosen)


def recorded_data(bucket: Bucket, study: Study) -> str | None:
    """Return the digest of the data set with which the study began, which it keeps; None if it has not begun."""
    reader = JournalReader(bucket, study.name)
    reader.poll()
    return None if reader.state.study is None else reader.state.data_digest


def check_continues(bucket: Bucket, loaded: Loaded, digest: str | None) -> None:
    """Log whether a chief can continue the study with these settings and this data set (None: not known yet).

    The given settings of a study with a script are completed by the recorded ones of its Tuner. A bucket that cannot be
    read is only a warning, because an upgrade may be what repairs it. Raises UsageError if the study began with other
    settings, with another data set, or with other networks of a built-in space.
    """
    study = loaded.study
    reader = JournalReader(bucket, study.name)
    try:
        reader.poll()
        recorded, version = reader.state.data_digest, None
        if recorded and bucket.exists(names.manifest(recorded)):
            version = space_version(study.space, read_manifest(bucket, recorded).image_shape)
    except EnvironmentFailure as error:
        log.warning("the settings of study %s were not checked: %s", study.name, error)
        return
    if study.space.script is not None and reader.state.study is not None:  # only the chief runs the script
        study = parse(overriding(dump(reader.state.study), loaded.given), "the settings")
    check_unchanged(reader.state, study, digest, version)
    if reader.state.study is None:
        log.info("study %s begins with these settings", study.name)
    else:
        log.info("study %s continues with these settings", study.name)


def has_finished(bucket: Bucket, study: Study) -> bool:
    """Return whether the search has finished, so that a worker may find no chief.

    For a study with a script, pass the settings of its Tuner, too: only they show that the search has grown.
    Raises ConfigError if the study began with other settings: no chief serves it with these.
    """
    reader = JournalReader(bucket, study.name)
    reader.poll()
    check_unchanged(reader.state, study, None)
    if reader.state.is_over(study):
        log.info("the search of study %s has finished", study.name)
        return True
    return False


def study_to_evaluate(bucket: Bucket, study: str) -> Study | None:
    """Return the settings of a study that is to be evaluated, and check its data set; None if it has been evaluated.

    Raises UsageError, EnvironmentFailure (the search is not finished), NoResultError, DataError.
    """
    if evaluated(bucket, study) is not None:
        return None
    state = read_study(bucket, study)
    if not state.settings.data.own:
        check_data_set(bucket, state.data_digest)
    return state.settings
