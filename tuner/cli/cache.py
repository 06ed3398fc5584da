"""The folder for files that can be recreated, such as unpacked arrays, and for the logs of `run`."""

import os
from collections.abc import Mapping
from pathlib import Path

from tuner import names
from tuner.errors import ConfigError
from tuner.temporary_files import temporary_folder


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return the cache folder, which exists and can be written.

    It is CIFAKE_TUNE_CACHE, or `cifake-tune` in XDG_CACHE_HOME or in `~/.cache`. Raises ConfigError if there is no home
    folder or the folder cannot be created, and EnvironmentFailure if it cannot be written.
    """
    folder = _chosen(environment)
    remedy = f"Set {names.ENV_CACHE} to a folder that can be written."
    try:
        folder = folder.absolute()  # the processes of `run` share it
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"the cache folder {folder} cannot be created ({reason}). {remedy}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"the cache folder {folder} cannot be written. {remedy}")
    temporary_folder(folder).cleanup()
    return folder


def existing_cache_folder(environment: Mapping[str, str]) -> Path | None:
    """Return the cache folder; None if it does not exist. Nothing is created."""
    try:
        folder = _chosen(environment).absolute()
    except ConfigError:
        return None
    return folder if folder.is_dir() else None


def _chosen(environment: Mapping[str, str]) -> Path:
    if environment.get(names.ENV_CACHE):
        return Path(environment[names.ENV_CACHE])
    if environment.get("XDG_CACHE_HOME"):
        return Path(environment["XDG_CACHE_HOME"]) / "cifake-tune"
    try:
        return Path.home() / ".cache" / "cifake-tune"
    except RuntimeError:  # HOME is not set, and this user has no entry in /etc/passwd
        raise ConfigError(
            f"there is no home folder for the cache, because HOME is not set and user {os.getuid()} is not in "
            f"/etc/passwd. Set {names.ENV_CACHE} to a folder that can be written."
        ) from None
