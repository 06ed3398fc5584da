"""Collects the provenance of the best model: settings, data, code, seeds, attempts and packages."""

import hashlib
import inspect
import json
import os
import platform
import subprocess
import sys
import zipfile
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import keras

import tuner
from tuner import names
from tuner.config.loading import dump
from tuner.data.manifest import Manifest
from tuner.evaluation.provenance import Code, DataSet, Machine, Provenance, Stage
from tuner.spaces.function import definition_of
from tuner.spaces.user_code import name_in_space
from tuner.study.attempts import History
from tuner.study.state import StudyState
from tuner.study.trial import Trial
from tuner.training.seeding import trial_seed


def provenance(
    state: StudyState,
    best: Trial,
    manifest: Manifest | None,
    validation_images: int,
    history: History,
    model: Path,
    space: Any,
) -> Provenance:
    """Return the provenance of the best trial's model.

    `manifest` is None if the space brings its own data. `model` is the file of the model's checkpoint, and `space` is
    the study's HyperModel, or the path of its script.
    """
    saved = _saved(model)
    assert best.checkpoint is not None and best.best_epoch is not None  # noqa: PT018  (StudyState.best)
    return Provenance(
        study=dump(state.settings),
        chiefs=len(history.chiefs),
        stages=tuple(_stage(state, trial, history) for trial in _lineage(state, best)),
        checkpoint=best.checkpoint,
        checkpoint_sha256=best.sha256.get(best.best_epoch),
        trained_with_keras=saved.get("keras_version"),
        saved_at=saved.get("date_saved"),
        data=_data_set(manifest, validation_images) if manifest else None,
        code=_code(space),
        evaluator=_machine(),
    )


def _lineage(state: StudyState, best: Trial) -> list[Trial]:
    """Return the trials in which the model was trained, in order."""
    line = [best]
    while (parent := state.trials.get(names.TrialId(str(line[0].hyperparameters.get(names.HP_PARENT))))) is not None:
        line.insert(0, parent)
    return line


def _stage(state: StudyState, trial: Trial, history: History) -> Stage:
    study, values = state.settings, trial.hyperparameters
    assert trial.best_epoch is not None
    return Stage(
        trial=trial.trial_id,
        seed=trial_seed(study.seed, trial.trial_id),
        hyperparameters=values,
        first_epoch=int(values[names.HP_INITIAL_EPOCH]) if names.HP_PARENT in values else 0,
        best_epoch=trial.best_epoch,
        epochs=int(values.get(names.HP_EPOCHS, study.training.epochs)),
        metrics={epoch: trial.epochs[epoch] for epoch in sorted(trial.epochs)},
        attempts=tuple(attempt for attempt in history.attempts if attempt.trial == trial.trial_id),
    )


def _saved(model: Path) -> dict[str, str]:
    try:
        with zipfile.ZipFile(model) as archive:
            metadata: dict[str, str] = json.loads(archive.read("metadata.json"))
            return metadata
    except (KeyError, ValueError):
        return {}


def _data_set(manifest: Manifest, validation_images: int) -> DataSet:
    return DataSet(
        digest=manifest.digest,
        source_digest=manifest.source_digest,
        source=manifest.source,
        decoder=manifest.decoder,
        classes=manifest.classes,
        image_shape=manifest.image_shape,
        resize=manifest.resize,
        convert=manifest.convert,
        training_images=sum(manifest.splits["train"].counts)
        - ("validation" not in manifest.splits) * validation_images,
        validation_images=validation_images,
        test_images=sum(manifest.splits["test"].counts),
        notes=(*manifest.notes, *manifest.warnings),
    )


def _code(space: Any) -> Code:
    if isinstance(space, Path):
        return _code_version(space.name, space)
    definition = definition_of(space)
    file = inspect.getsourcefile(definition)
    return _code_version(f"{name_in_space(definition.__module__)}:{definition.__qualname__}", file and Path(file))


def _code_version(space: str, file: Path | str | None) -> Code:
    revision = os.environ.get(names.ENV_REVISION)
    return Code(
        version=tuner.__version__,
        revision=revision if revision not in (None, "", "unknown") else _git_revision(),
        image=os.environ.get(names.ENV_IMAGE) or None,
        space=space,
        space_sha256=hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else None,
    )


def _git_revision() -> str | None:
    """Return the commit of the checkout, with `+` if files were changed; None outside a checkout."""
    root = Path(tuner.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(root)]
        commit, changes = (
            subprocess.run([*git, *ask], capture_output=True, text=True, check=True, timeout=10).stdout.strip()
            for ask in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}{'+' if changes else ''}"


def _machine() -> Machine:
    backend = keras.backend.backend()
    return Machine(
        python=platform.python_version(),
        platform=platform.platform(),
        processor=f"{platform.machine()}, {os.cpu_count()} cores",
        backend=f"{backend} {getattr(sys.modules.get(backend), '__version__', '')}".strip(),
        devices=_devices(),
        packages=_packages(),
    )


@cache
def _packages() -> dict[str, str]:
    """Return the version of every installed package. Cached because reading takes a millisecond per package."""
    read = [each.metadata for each in distributions()]
    return dict(sorted((each["Name"], each["Version"]) for each in read if each["Name"]))


def _devices() -> tuple[str, ...]:
    try:
        return tuple(keras.distribution.list_devices())
    except (RuntimeError, ValueError):
        return ()
